# SPDX-License-Identifier: MIT
"""The rows of a performance report, for text and pages. What was not measured reads ``n/a``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from virnuc_profiler.analysis.diagnosis.bottlenecks import LABELS, PACES
from virnuc_profiler.analysis.diagnosis.bottlenecks import NOT_MEASURED as UNKNOWN
from virnuc_profiler.analysis.host.interruptions import summary_interrupted
from virnuc_profiler.analysis.summary.performance_figures import WELL_PACKED, Performance
from virnuc_profiler.analysis.summary.rank_scaling import RankScaling
from virnuc_profiler.analysis.summary.requirements import (
    PERF_01_HOURS,
    PERF_02_PERCENT,
    PERF_05_EFFICIENCY,
    Projections,
)
from virnuc_profiler.analysis.summary.sampled_keys import summary_coverage
from virnuc_profiler.reports.coverage_text import POINTS, with_coverage
from virnuc_profiler.reports.figures import (
    NOT_MEASURED,
    counted,
    hours,
    number,
    percent,
    rate,
    share,
    with_interval,
    words,
)
from virnuc_profiler.reports.ranks.rank_scaling_text import scaling_lines, straggler_sentences
from virnuc_profiler.reports.steady_rate_text import steady_interval_text
from virnuc_profiler.telemetry.rates import ended_early, is_miscounted, passes_of, ratio, sequences_per_pass


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence of a report, which is wrapped to the width of the text.

    Attributes:
        text: The sentence, printable.
    """

    text: str

    @classmethod
    def of(cls, sentence: Any) -> Remark:
        """Return a remark of a sentence from a file."""
        return cls(words(sentence, 1000))


Row = tuple[str, str] | str | Remark
"""A row of a report: label and value, a line as it stands, or a sentence."""

_POWER_WINDOW_S = 1.0
"""Seconds over which NVML averages the power that it reports."""
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


def performance_sections(performance: Performance, *, alone: bool = True) -> dict[str, list[Row]]:
    """Return the rows of a report by the titles of its sections, without those that have nothing to say.

    Args:
        performance: Figures of the run.
        alone: Whether nothing else gives the diagnosis and the cost of profiling.
    """
    sections: dict[str, Iterator[Row]] = {
        "": _run(performance),
        "Interrupted": _interruptions(performance.summary),
        "Shards": _shards(performance.summary),
        "Ranks": _ranks(performance.scaling),
        "Workload": _workload(performance),
        "Throughput": _throughput(performance.summary, cost=alone),
        "Packing": _packing(performance),
        "DataLoader wait": _wait(performance),
        "GPU utilization": _gpu(performance),
        "Energy": _energy(performance.summary),
        "Diagnosis": _diagnosis(performance.summary) if alone else iter(()),
        "CPU time": _cpu_time(performance.summary),
        "Checkpoints": _checkpoints(performance),
        "Hardware": _hardware(performance.hardware),
        "Requirements": _requirements(performance),
        "Contradictions in this file": iter(f"  {words(text)}" for text in performance.contradictions),
    }
    return {title: rows for title, section in sections.items() if (rows := list(section))}


def _line(label: str, value: str) -> tuple[str, str]:
    return label, value


def _run(performance: Performance) -> Iterator[Row]:
    if performance.source:
        yield f"File: {words(performance.source)}"
    if isinstance(target := performance.metadata.get("target"), Mapping):
        yield f"Target: {words(target.get('name'))}"
    for key, label in _RUN_KEYS.items():
        if performance.metadata.get(key) is not None:
            yield f"{label}: {words(performance.metadata[key])}"
    if isinstance(failure := performance.metadata.get("failure"), Mapping):
        yield f"Failed: {words(failure.get('reason'))}: {words(failure.get('message'), 200)}"


def _shards(summary: Mapping[str, Any]) -> Iterator[Row]:
    if "num_shards" not in summary:
        return
    yield _line("Number", number(summary["num_shards"]))
    overlap = summary.get("shard_overlap")
    yield _line("All at once", NOT_MEASURED if overlap is None else f"{share(overlap)} of the time")
    for sentence in summary.get("warnings") or ():
        yield Remark.of(sentence)


def _ranks(scaling: RankScaling | None) -> Iterator[Row]:
    if scaling is not None:
        yield from (_line(label, text) for label, text in scaling_lines(scaling))
        for sentence in straggler_sentences(scaling):
            yield Remark.of(sentence)


def _workload(performance: Performance) -> Iterator[Row]:
    summary, workload = performance.summary, performance.metadata.get("workload")
    yield _line("Sequences", _sequences(summary["total_sequences"], performance.metadata))
    yield _line("Tokens", number(summary["total_tokens"]))
    yield _line("Tokens per sequence", number(summary["avg_tokens_per_seq"], 1))
    yield _line("Batches", number(summary["total_batches"]))
    yield _line("Elapsed", number(summary["elapsed_seconds"], 2, " s"))
    yield from _projections(performance.projections)
    if summary.get("batches_without_counts"):
        yield _line("Batches without counts", f"{number(summary['batches_without_counts'])} (not in the totals)")
    for key, label in (
        ("skipped_records", "Invalid records skipped"),
        ("truncated_sequences", "Sequences cut"),
        ("unknown_residues", "Unknown letters"),
    ):
        if isinstance(workload, Mapping) and isinstance(workload.get(key), int):
            yield _line(label, number(workload[key]))


def _sequences(done: int | None, metadata: Mapping[str, Any]) -> str:
    """Return the number of sequences and, if they are not those of one whole pass, how many one has."""
    planned, passes = sequences_per_pass(metadata), passes_of(metadata) or 0
    if done is None or planned is None:
        return number(done)
    several = f" ({counted(passes, 'pass', 'passes')} over {number(planned)})" if done > planned and passes else ""
    if not ended_early(metadata, done):
        return f"{number(done)}{several}"
    ended = "its counts differ" if is_miscounted(metadata) else "the run ended early"
    return f"{number(done)}{several or f' of {number(planned)}'}: {ended}"


def _projections(projections: Projections) -> Iterator[Row]:
    """Yield one line for each figure that says something of its own."""
    limit = PERF_01_HOURS
    if projections.tokens_differ:
        yield _line("Projected 6M (by sequences)", hours(projections.sequences, beside=limit))
        yield _line("Projected 6M (by tokens)", hours(projections.tokens, beside=limit))
    else:
        yield _line("Projected 6M (whole run's rate)", hours(projections.whole_run, beside=limit))
    if projections.steady is not None:
        text = hours(projections.steady, beside=limit)
        yield _line("Projected 6M (one start, steady)", with_interval(text, *projections.interval))


def _throughput(summary: Mapping[str, Any], *, cost: bool) -> Iterator[Row]:
    yield _line("Tokens/s", number(summary["avg_tokens_per_sec"]))
    yield _line("Sequences/s", rate(ratio(summary["sequences_per_hour"], 3600)))
    yield _line("Sequences/hour", number(summary["sequences_per_hour"]))
    if "steady_tokens_per_sec" in summary:
        steady = summary["steady_tokens_per_sec"]
        warm_up = counted(summary.get("warm_up_batches") or 0, "warm-up batch", "warm-up batches")
        remarks = ["too few batches"] if steady is None else [f"without {warm_up}", steady_interval_text(summary)]
        yield _line("Steady tokens/s", f"{number(steady)} ({'; '.join(filter(None, remarks))})")
        yield _line("Steady sequences/s", rate(summary.get("steady_sequences_per_sec")))
    if "start_up_seconds" in summary:
        yield _line("Start to first batch", number(summary["start_up_seconds"], 2, " s"))
    if "achieved_tflops" in summary:
        yield _line("Model TFLOP/s", number(summary["achieved_tflops"], 1))
    if "mfu" in summary:
        yield _line("MFU", share(summary["mfu"]))
    if cost and "profiling_calls" in summary:
        yield _line("Profiling took", render_cost(summary))


def _packing(performance: Performance) -> Iterator[Row]:
    packing = performance.packing
    yield _line("Average efficiency", share(packing.average, beside=PERF_05_EFFICIENCY))
    yield _line("Minimum efficiency", share(packing.minimum, beside=WELL_PACKED))
    under = f"{packing.under_80_percent:,} of {packing.batches:,}" if packing.batches else NOT_MEASURED
    yield _line("Batches under 80%", under)
    if "oversize_batches" in performance.summary:
        yield _line("Oversize batches", number(performance.summary["oversize_batches"]))
    if performance.padding_share is not None:
        padded = number(performance.summary["padded_tokens"])
        yield _line("Padding computed", f"{share(performance.padding_share)} of {padded} tokens")
    elif "padding_tokens" in performance.summary:
        yield _line("Padding avoided", number(performance.summary["padding_tokens"], 0, " tokens"))


def _wait(performance: Performance) -> Iterator[Row]:
    yield _line("Average", number(performance.wait.average_ms, 2, " ms"))
    yield _line("p95", number(performance.wait.p95_ms, 2, " ms"))
    yield _line("Starved batches", percent(performance.wait.starved_percent))
    yield _line("Share of the run", share(performance.summary.get("wait_fraction")))


def _gpu(performance: Performance) -> Iterator[Row]:
    summary = performance.summary
    for device in performance.devices:
        value = with_coverage(percent(device.average, beside=PERF_02_PERCENT), device.coverage)
        if device.minimum is not None:
            value += f" (batches {percent(device.minimum)} to {percent(device.maximum)})"
        yield _line(words(device.name), value)
    if "device_stages_fraction" in summary:
        yield _line("In device stages, at most", share(summary["device_stages_fraction"]))
    if summary.get("device_timestamped_fraction") is not None:
        yield _line("In stages that the device timed", share(summary["device_timestamped_fraction"]))
    if "dropped_device_timings" in summary:
        yield _line("Batches without device times", number(summary["dropped_device_timings"]))
    for key, label in (("sm", "SM activity"), ("tensor", "Tensor activity"), ("dram", "DRAM activity")):
        if f"mean_{key}_activity" in summary:
            yield _sampled(summary, f"mean_{key}_activity", label, share(summary[f"mean_{key}_activity"]))


def _energy(summary: Mapping[str, Any]) -> Iterator[Row]:
    if "energy_joules" not in summary:
        return
    counter = "energy_joules"
    yield _sampled(summary, counter, "Energy", number(summary[counter], 1, " J"), "%")
    for key, label, digits, unit in (
        ("joules_per_sequence", "Joules per sequence", 4, ""),
        ("joules_per_1000_tokens", "Joules per 1,000 tokens", 4, ""),
        ("mean_power_watts", "Power, mean", 1, " W"),
    ):
        yield _sampled(summary, counter, label, number(summary.get(key), digits, unit), "%")
    peak = "peak_power_watts"
    yield _sampled(summary, peak, "Power, highest 1 s average", number(_highest_power(summary), 1, " W"), None)


def _highest_power(summary: Mapping[str, Any]) -> float | None:
    """Return the highest power that NVML reported; None where its averages of a second cannot show the run's.

    That is so in a run of less than a second, and where the mean from the energy counter is higher.
    """
    highest, mean = summary.get("peak_power_watts"), summary.get("mean_power_watts")
    too_short = (summary["elapsed_seconds"] or 0.0) < _POWER_WINDOW_S
    return None if highest is None or too_short or (mean is not None and mean > highest) else highest


def _sampled(
    summary: Mapping[str, Any], key: str, label: str, value: str, unit: str | None = POINTS
) -> tuple[str, str]:
    """Return a line with a sampled value; `key` is the one under which the summary has its coverage."""
    return _line(label, with_coverage(value, summary_coverage(summary, key), unit))


def _diagnosis(summary: Mapping[str, Any]) -> Iterator[Row]:
    if summary.get("bound_by") is None:
        return
    if summary["bound_by"] != UNKNOWN:  # a run that is too short, or was not measured, has no bottleneck
        label = "Pace set by" if summary["bound_by"] in PACES else "Largest loss after warm-up"
        yield _line(label, words(LABELS.get(summary["bound_by"], summary["bound_by"])))
    if summary.get("diagnosis") is not None:
        yield Remark.of(summary["diagnosis"])
    if isinstance(gaps := summary.get("device_gap_seconds"), Mapping):
        for cause, seconds in sorted(gaps.items(), key=lambda item: -(item[1] or 0)):
            yield _line(f"Device idle, {words(LABELS.get(cause, cause))}", number(seconds, 3, " s"))
    throttling = summary_coverage(summary, "throttled_seconds")
    if summary.get("throttled_batches") or (throttling is not None and not throttling.sufficient):
        slowed = number(summary.get("throttled_batches"))
        yield _sampled(summary, "throttled_seconds", "Batches under lower clocks", slowed)
        for reason, seconds in (summary.get("throttled_seconds") or {}).items():
            yield _line(words(reason), number(seconds, 1, " s"))


def _interruptions(summary: Mapping[str, Any]) -> Iterator[Row]:
    if summary.get("stopped_seconds"):
        stopped, elapsed = (number(summary.get(f"{key}_seconds"), 1, " s") for key in ("stopped", "elapsed"))
        effect = "rates include it, measure again" if summary_interrupted(summary) else "too short to change the rates"
        yield _line("Stopped (signal, debugger, freezer)", f"{stopped} of {elapsed}: {effect}")
    if summary.get("suspended_seconds"):
        yield _line("Machine asleep", f"{number(summary['suspended_seconds'], 1, ' s')}: measure again")


def _cpu_time(summary: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the CPU quota, and how often it was used up; nothing without a quota."""
    throttled, periods = summary.get("cpu_throttled_periods"), summary.get("cpu_quota_periods")
    if summary.get("cpu_quota_cores") is None and not throttled:
        return
    yield _line("CPU quota", number(summary.get("cpu_quota_cores"), 2, " cores"))
    if periods:
        throttled_share = share(ratio(throttled, periods))
        yield _line("Periods throttled by the quota", f"{number(throttled)} of {number(periods)} ({throttled_share})")
    if summary.get("cpu_pressure_fraction") is not None:
        yield _line("Time a thread waited for a core", share(summary["cpu_pressure_fraction"]))


def _checkpoints(performance: Performance) -> Iterator[Row]:
    checkpoints = performance.checkpoints
    if checkpoints is None:
        return
    yield _line("Writes", number(checkpoints.writes))
    yield _line("Average write", number(checkpoints.average_write_ms, 2, " ms"))
    yield _line("p95 write", number(checkpoints.p95_write_ms, 2, " ms"))
    yield _line("Deepest queue", number(checkpoints.max_queue_depth))


def _hardware(hardware: Mapping[str, Any]) -> Iterator[Row]:
    if not hardware:
        yield "  n/a"
    for key, label in _HARDWARE_KEYS.items():
        if key in hardware:
            yield _line(label, words(hardware[key]))
    if hardware and not hardware.keys() & _HARDWARE_KEYS.keys():  # keys of another writer
        for key, value in list(hardware.items())[:20]:
            yield _line(words(key), words(value))


def _requirements(performance: Performance) -> Iterator[Row]:
    if performance.on_cpu:
        yield "  PERF-01 and PERF-02 are asked of GPUs; this run was on the CPU."
    if performance.summary.get("padded_tokens"):
        yield "  PERF-05 is asked of packs; the batches of this run were padded."
    for requirement in performance.requirements:
        unit = f" {requirement.unit}" if requirement.unit[0].isalpha() else requirement.unit
        value = number(requirement.value, 2, unit, beside=requirement.limit)
        unknown = "NOT MEASURED" if requirement.value is None else "CANNOT TELL"
        verdict = {True: "PASS", False: "FAIL", None: unknown}[requirement.met]
        yield f"  {requirement.name}  {requirement.text:<32} {value:>12}   {verdict}"
        if requirement.remark:
            yield f"           {requirement.remark}"


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
    calls_of = f"{counted(calls, 'call')} of {number(per_call_ns / 1e3, 2)} us"
    return f"{number(100 * fraction, 3, '%')} of the run ({calls_of}){beside}"
