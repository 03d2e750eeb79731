# SPDX-License-Identifier: MIT
"""Keys of the telemetry summary that need the records of a run, beyond sums over its batches."""

from __future__ import annotations

from typing import Any

from virnuc_profiler.analysis.diagnosis.bottlenecks import LEAD_IN, TAIL
from virnuc_profiler.analysis.diagnosis.diagnose import Diagnosis, diagnose_observation
from virnuc_profiler.analysis.diagnosis.gaps import DeviceGaps
from virnuc_profiler.analysis.diagnosis.observation import Observation, batches_flops, observe
from virnuc_profiler.analysis.diagnosis.start_up import StartUp
from virnuc_profiler.analysis.model_cost import (
    DeviceCeiling,
    ModelShape,
    model_flops_utilization,
    recorded_ceiling,
    recorded_shape,
)
from virnuc_profiler.analysis.projection.run_pace import projected_interval
from virnuc_profiler.analysis.summary.batch_metrics import waits_ns
from virnuc_profiler.analysis.summary.host_keys import host_keys
from virnuc_profiler.analysis.summary.padding import padded_tokens
from virnuc_profiler.analysis.summary.sampled_keys import sampled_keys
from virnuc_profiler.analysis.timing.interval_columns import clip, length
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.analysis.timing.statistics import percentile
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.rates import (
    PROJECTED_SEQUENCES,
    passes_of,
    planned_tokens_per_sequence,
    projected_hours,
    ratio,
    steady_projected_hours,
)
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.stage_columns import StageColumns


def run_summary(
    run: RunResult,
    *,
    shape: ModelShape | None = None,
    ceiling: DeviceCeiling | None = None,
    judged: tuple[Observation, Diagnosis] | None = None,
) -> dict[str, Any]:
    """Return summary keys to pass to ``TelemetryLogger.finalize``, among them the run's own ``elapsed_seconds``.

    What was not measured is None. Keys that only an NVML sampler can fill are missing if the GPU was not sampled, so
    that they never replace the values of the batches.

    Args:
        run: Run to summarize.
        shape: Shape of the model, which gives ``achieved_tflops``; by default taken from the run's metadata.
        ceiling: Ceiling of the device, which gives ``mfu``; by default taken from the run's metadata.
        judged: What was observed in this run with this shape, and its diagnosis; None to observe and diagnose it.
    """
    shape = recorded_shape(run.metadata) if shape is None else shape
    ceiling = recorded_ceiling(run.metadata) if ceiling is None else ceiling
    window = (run.host_start_ns, run.host_end_ns)
    waits = waits_ns(run.batches)
    observation = observe(run, shape) if judged is None else judged[0]
    steady = observation.after_warm_up
    first_end = steady.first_completion_ns
    start_up_s = None if first_end is None else (first_end - run.host_start_ns) / 1e9
    sequences_per_sec = steady.sequences_per_sec
    planned_length = planned_tokens_per_sequence(run.metadata, run.total_sequences)
    if planned_length is not None:
        sequences_per_sec = ratio(steady.tokens_per_sec, planned_length)
    diagnosis = diagnose_observation(observation, run, ceiling) if judged is None else judged[1]
    keys = {
        "elapsed_seconds": run.elapsed_s,
        "start_up_seconds": start_up_s,
        "warm_up_batches": steady.warm_up_batches,
        "steady_tokens_per_sec": steady.tokens_per_sec,
        "steady_sequences_per_sec": sequences_per_sec,
        "steady_interval": None if steady.interval is None else steady.interval.to_json(),
        "passes": passes_of(run.metadata),
        "projected_6M_hours_steady": steady_projected_hours(start_up_s, sequences_per_sec),
        **_projection_keys(run, planned_length),
        "start_up_phase_seconds": _phase_seconds(observation.start_up),
        "device_stages_fraction": device_stages_fraction(run.batches.device_stages, window),
        "device_timestamped_fraction": device_stages_fraction(run.batches.timestamped_stages, window),
        "device_gap_seconds": gap_seconds(observation.whole),
        "bound_by": diagnosis.bottleneck,
        "diagnosis": diagnosis.sentence,
        "dropped_device_timings": run.device.dropped_batches if run.device.timed else None,
        "wait_time_ms_p50": _milliseconds(percentile(waits, 50)),
        "wait_time_ms_p95": _milliseconds(percentile(waits, 95)),
        **profiling_cost_keys(run),
        **host_keys(run),
        **packing_keys(run.batches.packed()),
        **sampled_keys(run),
        **flops_keys(run, shape, ceiling),
    }
    return {**keys, "projected_6M_hours_interval": projected_interval(run, keys, shape)}


def device_stages_fraction(stages: StageColumns, window: Interval) -> float | None:
    """Return the union of device intervals divided by the length of a window; None without device intervals.

    Intervals that events took include waits for launches, so the device was busy for at most this share. Intervals
    that the device timed itself are exact. Batches without device times add nothing; ``dropped_device_timings`` counts
    them.

    Args:
        stages: Stages with device intervals.
        window: Start and end of the window on the host's clock, ns.
    """
    if not stages.batch.size:
        return None
    inside = clip(stages.device_start_ns, stages.device_end_ns, window)
    return ratio(length(*inside), window[1] - window[0])


def _phase_seconds(start_up: StartUp | None) -> dict[str, float] | None:
    return None if start_up is None else {phase: ns / 1e9 for phase, ns in start_up.phases.items()}


def gap_seconds(gaps: DeviceGaps) -> dict[str, float] | None:
    """Return the idle seconds of the device by cause, including lead-in and tail; None without device times.

    They and the time in device stages add up to the window.

    Args:
        gaps: Gaps of the device in the window.
    """
    if not gaps.known:
        return None
    by_cause = {line.cause: line.total_ns / 1e9 for line in gaps.totals()}
    return {LEAD_IN: gaps.lead_in_ns / 1e9, TAIL: gaps.tail_ns / 1e9, **by_cause}


def _projection_keys(run: RunResult, planned_length: float | None) -> dict[str, Any]:
    """Return the projection by tokens of a run that ended early; no keys for a whole run, for which it follows."""
    if planned_length is None or run.total_tokens is None or not run.batches.all_packed:
        return {}
    tokens = PROJECTED_SEQUENCES * planned_length
    return {"projected_6M_hours_tokens": projected_hours(tokens, run.total_tokens, run.elapsed_s)}


def _milliseconds(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6


def packing_keys(packed: BatchTable) -> dict[str, Any]:
    """Return the summary keys of how full the batches were.

    Args:
        packed: Batches with packing statistics.
    """
    columns = packed.columns
    tokens, budgets = columns["tokens"], columns["token_budget"]
    if not len(tokens):
        return {"oversize_batches": None, "padding_tokens": None}
    padded = padded_tokens(packed)
    return {
        "oversize_batches": int(((budgets > 0) & (tokens > budgets)).sum()),
        "padding_tokens": int((columns["sequences"] * columns["max_length"] - tokens).sum()),
        **({} if padded is None else {"padded_tokens": padded}),
    }


def flops_keys(run: RunResult, shape: ModelShape | None, ceiling: DeviceCeiling) -> dict[str, Any]:
    """Return the summary keys of the model's arithmetic; no keys if its FLOPs are unknown.

    Args:
        run: Run to summarize.
        shape: Shape of the model, or None.
        ceiling: Ceiling of the device.
    """
    flops = batches_flops(run.batches, shape)
    if flops is None:
        return {}
    achieved = ratio(flops, run.elapsed_s)
    keys = {"achieved_tflops": None if achieved is None else achieved / 1e12}
    if ceiling.flops_per_second is not None:
        keys["mfu"] = model_flops_utilization(flops, run.elapsed_s, ceiling)
    return keys


def profiling_cost_keys(run: RunResult) -> dict[str, Any]:
    """Return the summary keys for the cost of profiling; no keys if the run did not measure it.

    ``profiling_host_fraction`` is the share of the run that the loop spent inside the profiler: an upper bound of the
    slowdown if the host is the bottleneck. The profiler's threads run beside the loop, and slow it down only if no
    core is free. A share above 1 is not known: a timed call that lost its core spoke for all others.

    Args:
        run: Run to summarize.
    """
    cost = run.cost
    if cost is None:
        return {}
    watch_cpu_ns = None if run.host is None else run.host.watch_cpu_ns
    threads = [ns for ns in (cost.collector_cpu_ns, cost.sampling_cpu_ns, watch_cpu_ns) if ns is not None]
    host_s = None if cost.host_ns is None else cost.host_ns / 1e9
    fraction = ratio(host_s, run.elapsed_s)
    if fraction is not None and fraction > 1.0:
        host_s = fraction = None
    return {
        "profiling_calls": cost.calls,
        "profiling_call_ns": None if host_s is None else cost.mean_call_ns,
        "profiling_host_seconds": host_s,
        "profiling_host_fraction": fraction,
        "profiling_thread_cpu_seconds": sum(threads) / 1e9 if threads else None,
    }
