# SPDX-License-Identifier: MIT
"""The performance report of one run, as text. What was not measured prints as ``n/a``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import starmap
from pathlib import Path
from textwrap import fill
from typing import Any

from virnuc_profiler.analysis.diagnosis.bottlenecks import LABELS
from virnuc_profiler.analysis.summary.performance_figures import Performance, summarize_performance
from virnuc_profiler.reports.figures import NOT_MEASURED, hours, number, percent, share, words
from virnuc_profiler.reports.host_text import cpu_figures, interruption_figures
from virnuc_profiler.reports.telemetry_file import load_telemetry
from virnuc_profiler.telemetry.files import write_text_atomically
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.run_result import RunResult

_RULE = "=" * 70
_LABEL_WIDTH = 38
"""Width of the longest label of this package. A longer label from a file moves its value to the right."""

_RUN_KEYS = {
    "run_id": "Run",
    "model_name": "Model",
    "weights": "Weights",
    "precision": "Precision",
    "attention_backend": "Attention",
    "device": "Device",
}
_HARDWARE_KEYS = {
    "gpu_count": "GPUs",
    "gpu_models": "GPU models",
    "gpu_memory_gb": "GPU memory (GB)",
    "driver_version": "Driver",
    "cuda_version": "CUDA",
    "torch_version": "PyTorch",
    "cpu_model": "CPU",
    "cpu_logical_cores": "CPU cores (logical)",
    "cpu_usable_cores": "CPU cores usable",
    "memory_total_gb": "Memory (GB)",
    "python_version": "Python",
    "platform": "Platform",
}


def generate_performance_report(
    telemetry_path: str | os.PathLike[str] | RunResult, output_path: str | os.PathLike[str] | None = None
) -> str:
    """Return the performance report of a run.

    Args:
        telemetry_path: Path of a telemetry file, possibly by another writer of the format, or of a saved run; or a run
            in memory.
        output_path: File to write the report to as well, atomically; None writes no file.

    Raises:
        TelemetryFormatError: The file cannot be read, or is neither telemetry nor a saved run.
        ValueError: `output_path` is the file that is reported on.
        OutputError: The report cannot be written.
    """
    file = None if isinstance(telemetry_path, RunResult) else Path(telemetry_path)
    if file is not None and output_path is not None and Path(output_path).resolve() == file.resolve():
        raise ValueError(f"the report would replace the file that it is about, {file}; choose another output_path")
    text = render_performance(summarize_performance(load_telemetry(telemetry_path), "" if file is None else file.name))
    if output_path is not None:
        write_text_atomically(output_path, text)
    return text


def render_performance(performance: Performance) -> str:
    """Render a report; strings from the file are made printable.

    Args:
        performance: Figures of the run.
    """
    sections = {
        "": _run(performance),
        "Interrupted": starmap(_line, interruption_figures(performance.summary)),
        "Workload": _workload(performance),
        "Throughput": _throughput(performance.summary),
        "Packing": _packing(performance),
        "DataLoader wait": _wait(performance),
        "GPU utilization": _gpu(performance),
        "Energy": _energy(performance.summary),
        "Diagnosis": _diagnosis(performance.summary),
        "CPU time": starmap(_line, cpu_figures(performance.summary)),
        "Checkpoints": _checkpoints(performance),
        "Hardware": _hardware(performance.hardware),
        "Requirements": _requirements(performance),
        "Contradictions in this file": iter(f"  {words(text)}" for text in performance.contradictions),
    }
    lines = ["Performance Report", _RULE]
    for title, section in sections.items():
        body = list(section)
        if body:
            lines += [*([title] if title else []), *body, ""]
    lines[-1] = _RULE
    return "\n".join(lines) + "\n"


def _line(label: str, value: str) -> str:
    return f"  {label + ':':<{_LABEL_WIDTH}} {value}"


def _run(performance: Performance) -> Iterator[str]:
    if performance.source:
        yield f"File: {words(performance.source)}"
    for key, label in _RUN_KEYS.items():
        if performance.metadata.get(key) is not None:
            yield f"{label}: {words(performance.metadata[key])}"


def _workload(performance: Performance) -> Iterator[str]:
    summary, workload = performance.summary, performance.metadata.get("workload")
    yield _line("Sequences", number(summary["total_sequences"]))
    yield _line("Tokens", number(summary["total_tokens"]))
    yield _line("Tokens per sequence", number(summary["avg_tokens_per_seq"], 1))
    yield _line("Batches", number(summary["total_batches"]))
    yield _line("Elapsed", number(summary["elapsed_seconds"], 2, " s"))
    yield _line("Projected 6M (by sequences)", hours(summary["projected_6M_hours"]))
    yield _line("Projected 6M (by tokens)", hours(summary["projected_6M_hours_tokens"]))
    if summary.get("batches_without_counts"):
        yield _line("Batches without counts", f"{number(summary['batches_without_counts'])} (not in the totals)")
    for key, label in (("truncated_sequences", "Sequences cut"), ("unknown_residues", "Unknown letters")):
        if isinstance(workload, Mapping) and isinstance(workload.get(key), int):
            yield _line(label, number(workload[key]))


def _three_digits(value: float | None) -> str:
    """Format as ``123.4``, or as ``0.028`` below 1."""
    return number(value, 1 if value is None or abs(value) >= 1 else 3)


def _throughput(summary: Mapping[str, Any]) -> Iterator[str]:
    yield _line("Tokens/s", number(summary["avg_tokens_per_sec"]))
    yield _line("Sequences/s", number(ratio(summary["sequences_per_hour"], 3600), 1))
    yield _line("Sequences/hour", number(summary["sequences_per_hour"]))
    if "steady_tokens_per_sec" in summary:
        steady, warm_up = summary["steady_tokens_per_sec"], number(summary.get("warm_up_batches"))
        why = "too few batches" if steady is None else f"without {warm_up} warm-up batches"
        yield _line("Steady tokens/s", f"{number(steady)} ({why})")
        yield _line("Steady sequences/s", number(summary.get("steady_sequences_per_sec"), 1))
    if "start_up_seconds" in summary:
        yield _line("Start to first batch", number(summary["start_up_seconds"], 2, " s"))
    if "achieved_tflops" in summary:
        yield _line("Model TFLOP/s", _three_digits(summary["achieved_tflops"]))
    if "mfu" in summary:
        yield _line("MFU", share(summary["mfu"]))
    if "profiling_calls" in summary:
        yield _line("Profiling took", render_cost(summary))


def _packing(performance: Performance) -> Iterator[str]:
    packing = performance.packing
    yield _line("Average efficiency", share(packing.average))
    yield _line("Minimum efficiency", share(packing.minimum))
    under = f"{packing.under_80_percent:,} of {packing.batches:,}" if packing.batches else NOT_MEASURED
    yield _line("Batches under 80%", under)
    if "oversize_batches" in performance.summary:
        yield _line("Oversize batches", number(performance.summary["oversize_batches"]))
    if "padding_tokens" in performance.summary:
        yield _line("Padding avoided", number(performance.summary["padding_tokens"], 0, " tokens"))


def _wait(performance: Performance) -> Iterator[str]:
    yield _line("Average", number(performance.wait.average_ms, 2, " ms"))
    yield _line("p95", number(performance.wait.p95_ms, 2, " ms"))
    yield _line("Starved batches", percent(performance.wait.starved_percent))


def _gpu(performance: Performance) -> Iterator[str]:
    summary = performance.summary
    for device in performance.devices:
        value = percent(device.average)
        if device.minimum is not None:
            value += f" (batches {percent(device.minimum)} to {percent(device.maximum)})"
        yield _line(words(device.name), value)
    if "device_busy_fraction" in summary:
        yield _line("Device busy", share(summary["device_busy_fraction"]))
    if "dropped_device_timings" in summary:
        yield _line("Batches without device times", number(summary["dropped_device_timings"]))
    for key, label in (("sm", "SM activity"), ("tensor", "Tensor activity"), ("dram", "DRAM activity")):
        if f"mean_{key}_activity" in summary:
            yield _line(label, share(summary[f"mean_{key}_activity"]))


def _energy(summary: Mapping[str, Any]) -> Iterator[str]:
    if "energy_joules" not in summary:
        return
    yield _line("Energy", number(summary["energy_joules"], 1, " J"))
    yield _line("Joules per sequence", number(summary.get("joules_per_sequence"), 4))
    yield _line("Joules per 1,000 tokens", number(summary.get("joules_per_1000_tokens"), 4))
    yield _line("Power, mean", number(summary.get("mean_power_watts"), 1, " W"))
    yield _line("Power, peak", number(summary.get("peak_power_watts"), 1, " W"))


def _diagnosis(summary: Mapping[str, Any]) -> Iterator[str]:
    if summary.get("bound_by") is None:
        return
    yield _line("Bound by", words(LABELS.get(summary["bound_by"], summary["bound_by"])))
    if summary.get("diagnosis") is not None:
        yield from fill(words(summary["diagnosis"], 1000), initial_indent="  ", subsequent_indent="  ").splitlines()
    if isinstance(gaps := summary.get("device_gap_seconds"), Mapping):
        for cause, seconds in sorted(gaps.items(), key=lambda item: -(item[1] or 0)):
            yield _line(f"Device idle, {words(LABELS.get(cause, cause))}", number(seconds, 3, " s"))
    if summary.get("throttled_batches"):
        yield _line("Batches under lower clocks", number(summary["throttled_batches"]))
        for reason, seconds in (summary.get("throttled_seconds") or {}).items():
            yield _line(words(reason), number(seconds, 1, " s"))


def _checkpoints(performance: Performance) -> Iterator[str]:
    checkpoints = performance.checkpoints
    if checkpoints is None:
        return
    yield _line("Writes", number(checkpoints.writes))
    yield _line("Average write", number(checkpoints.average_write_ms, 2, " ms"))
    yield _line("p95 write", number(checkpoints.p95_write_ms, 2, " ms"))
    yield _line("Deepest queue", number(checkpoints.max_queue_depth))


def _hardware(hardware: Mapping[str, Any]) -> Iterator[str]:
    if not hardware:
        yield "  n/a"
    for key, label in _HARDWARE_KEYS.items():
        if key in hardware:
            yield _line(label, words(hardware[key]))
    if hardware and not hardware.keys() & _HARDWARE_KEYS.keys():  # keys of another writer
        for key, value in list(hardware.items())[:20]:
            yield _line(words(key), words(value))


def _requirements(performance: Performance) -> Iterator[str]:
    for requirement in performance.requirements:
        verdict = {True: "PASS", False: "FAIL", None: "NOT MEASURED"}[requirement.met]
        value = hours(requirement.value) if requirement.unit == "h" else number(requirement.value, 2, "%")
        yield f"  {requirement.name}  {requirement.text:<32} {value:>12}   {verdict}"


def render_cost(summary: Mapping[str, Any]) -> str:
    """Render the cost of profiling, such as ``0.012% of the run (3,010 calls of 1.05 us)``.

    Args:
        summary: Telemetry summary of a run.
    """
    calls, per_call_ns = summary.get("profiling_calls"), summary.get("profiling_call_ns")
    fraction = summary.get("profiling_host_fraction")
    if calls is None or per_call_ns is None or fraction is None:
        return NOT_MEASURED
    threads = summary.get("profiling_thread_cpu_seconds")
    beside = "" if threads is None else f"; its threads {number(threads, 3, ' s')} of CPU beside it"
    return f"{100 * fraction:.3f}% of the run ({calls:,} calls of {per_call_ns / 1e3:.2f} us){beside}"
