# SPDX-License-Identifier: MIT
"""The fine print of a run's page: machine, versions, workload, weights, cost of profiling, and what is not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from virnuc_profiler.analysis.summary.run_findings import RunFindings
from virnuc_profiler.analysis.summary.sampled_keys import COVERAGE, summary_coverage
from virnuc_profiler.reports.figures import counted, number, share, words
from virnuc_profiler.reports.html.html_table import bullet_list, fact_list
from virnuc_profiler.reports.html.page import Section
from virnuc_profiler.reports.performance.performance_rows import render_cost
from virnuc_profiler.telemetry.run_result import RunResult

_MACHINE: Final = {
    "gpu_models": "GPUs",
    "gpu_memory_gb": "GPU memory, GB",
    "driver_version": "Driver",
    "cuda_version": "CUDA",
    "torch_version": "PyTorch",
    "python_version": "Python",
    "cpu_model": "CPU",
    "cpu_logical_cores": "CPU cores (logical)",
    "cpu_usable_cores": "CPU cores usable",
    "memory_total_gb": "Memory, GB",
    "platform": "Platform",
}
_RUN: Final = {
    "model_name": "Model",
    "weights": "Weights",
    "weights_source": "Source of the weights",
    "parameters": "Parameters",
    "precision": "Precision",
    "attention_backend": "Attention",
    "kernels": "Kernels",
    "status": "Status",
    "peak_memory_gb": "Peak memory, GB",
}
_WORKLOAD: Final = {
    "path": "File",
    "fingerprint": "Fingerprint",
    "num_sequences": "Sequences",
    "tokens": "Tokens",
    "skipped_records": "Skipped records",
    "truncated_sequences": "Sequences cut",
    "unknown_residues": "Unknown letters",
}
_SAMPLED: Final = {
    "avg_gpu_util": "GPU utilization",
    "peak_power_watts": "Power",
    "mean_sm_activity": "SM activity",
    "mean_tensor_activity": "Tensor activity",
    "mean_dram_activity": "DRAM activity",
    "energy_joules": "Energy",
    "throttled_seconds": "Reasons for lower clocks",
}


def run_fine_print(found: RunFindings) -> list[Section]:
    """Return the fine print of a run.

    Args:
        found: What was found out about the run.
    """
    run, metadata = found.run, found.run.metadata
    config = metadata.get("config")
    about = [
        ("Run", words(run.run_id)), ("Started", words(run.started_at)), ("File format", words(run.schema_version)),
        *_known(metadata, _RUN), *(_known(config, {key: key for key in config}) if isinstance(config, Mapping) else ()),
    ]  # fmt: skip
    sections = [Section("about-run", "Run", [fact_list(about)])]
    for anchor, title, key, labels in (
        ("machine", "Machine", "hardware", _MACHINE),
        ("workload", "Workload", "workload", _WORKLOAD),
    ):
        facts = list(_known(metadata.get(key), labels))
        sections.append(Section(anchor, title, [fact_list(facts)] if facts else ["The file does not say."]))
    sections.append(Section("measurement", "How it was measured", [fact_list(_measurement(found))]))
    missing = list(_not_measured(found))
    if missing:
        sections.append(Section("not-measured", "What was not measured", [bullet_list(missing)]))
    return sections


def _known(values: Any, labels: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if isinstance(values, Mapping):
        for key, label in labels.items():
            if values.get(key) is not None:
                yield words(label), _text(values[key])


def _text(value: Any) -> str:
    """Return a value as text; a setting such as 0.1 as it is, and large counts with separators."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return words(value)
    return f"{value:,}" if isinstance(value, int) else number(value, 2)


def _measurement(found: RunFindings) -> Iterator[tuple[str, str]]:
    run, summary = found.run, found.summary
    yield "Device", words(run.device.name)
    yield "Cost of profiling", render_cost(summary)
    if run.device.timed:
        dropped = f"{run.device.dropped_batches:,} of {counted(len(run.batches), 'batch', 'batches')}"
        yield "Batches without all of their device times", dropped
        if run.device.alignment_uncertainty_ns is not None:
            residual = run.device.alignment_residual_ns
            beside = "" if residual is None else f", residual {residual / 1e3:,.1f} µs"
            yield (
                "Error of device times on the host's clock",
                f"{run.device.alignment_uncertainty_ns / 1e3:,.1f} µs{beside}",
            )
        if run.device.clock_drift_ppm is not None:
            yield "Drift of the device's clock", number(run.device.clock_drift_ppm, 2, " ppm")
    for key, label in _SAMPLED.items():
        coverage = summary_coverage(summary, key) if COVERAGE in summary else None
        if coverage is not None:
            readings = counted(coverage.readings, "reading")
            yield f"{label}, sampled", f"{share(coverage.share)} of the run, {readings}"


def _not_measured(found: RunFindings) -> Iterator[str]:
    run = found.run
    yield from _device(run)
    if run.gpu is None:
        yield f"The GPU was not sampled{_because(run.device.sampling_reason)}."
    elif run.device.sampling_reason:
        yield f"Sampling of the GPU: {words(run.device.sampling_reason)}."
    for tier in () if run.gpu is None else run.gpu.tiers:
        if tier.unsupported:
            yield f"Not sampled ({words(tier.name)}): {words(tier.unsupported)}."
        if tier.missed_deadlines or tier.errors:
            late, errors = counted(tier.missed_deadlines, "deadline"), counted(tier.errors, "error")
            yield f"Sampling ({words(tier.name)}) missed {late} and had {errors}."
    if len(run.batches) and not run.batches.all_packed:
        yield "Not all batches have packing statistics, so rates of tokens and sequences are not those of all batches."
    if run.cost is None:
        yield "The file predates the measurement of the cost of profiling."
    if run.stops is None:
        yield "Nothing watched whether the run was stopped or the machine slept."
    if run.start_up is None:
        yield "Nothing was noted of the start-up beside the batches."
    if run.kernels is None:
        yield "Kernels were not recorded (profile --kernels records some batches)."


def _device(run: RunResult) -> Iterator[str]:
    if not run.device.timed:
        yield f"Device times were not captured{_because(run.device.reason)}."
    elif run.device.reason:
        yield f"The capture of device times ended early: {words(run.device.reason)}."
    if run.device.dropped_batches:
        batches = counted(run.device.dropped_batches, "batch", "batches")
        yield f"Device times of {batches} are missing or incomplete; idle time there counts as not measured."


def _because(reason: str) -> str:
    return f": {words(reason)}" if reason else ""
