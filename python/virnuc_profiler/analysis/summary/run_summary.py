# SPDX-License-Identifier: MIT
"""Keys of the telemetry summary that need the records of a run, beyond sums over its batches."""

from __future__ import annotations

from typing import Any, Final

from virnuc_profiler.analysis.diagnosis.bottlenecks import LEAD_IN, TAIL
from virnuc_profiler.analysis.diagnosis.diagnose import diagnose_observation
from virnuc_profiler.analysis.diagnosis.gaps import DeviceGaps
from virnuc_profiler.analysis.diagnosis.observation import batches_flops, observe
from virnuc_profiler.analysis.gpu.activity import activity_during, energy_between, mean_utilization
from virnuc_profiler.analysis.gpu.throttling import ThrottleTimeline, throttled_batches, throttled_seconds
from virnuc_profiler.analysis.model_cost import (
    DeviceCeiling,
    ModelShape,
    model_flops_utilization,
    recorded_ceiling,
    recorded_shape,
)
from virnuc_profiler.analysis.summary.batch_metrics import waits_ns
from virnuc_profiler.analysis.summary.host_keys import host_keys
from virnuc_profiler.analysis.timing.interval_columns import clip, length
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.analysis.timing.statistics import percentile
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.records import GpuSamples
from virnuc_profiler.telemetry.run_result import RunResult

ENERGY_COVERAGE: Final = 0.8
"""Joules per sequence need a counter that covers this share of the run. The rest counts at the same power."""

_MAX_MISSING_READINGS: Final = 5
"""Number of readings that may be missing at the end of a run, because a busy machine delays them."""


def run_summary(
    run: RunResult, *, shape: ModelShape | None = None, ceiling: DeviceCeiling | None = None
) -> dict[str, Any]:
    """Return summary keys to pass to ``TelemetryLogger.finalize``, among them the run's own ``elapsed_seconds``.

    What was not measured is None. Keys that only an NVML sampler can fill are missing if the GPU was not sampled, so
    that they never replace the values of the batches.

    Args:
        run: Run to summarize.
        shape: Shape of the model, which gives ``achieved_tflops``; by default taken from the run's metadata.
        ceiling: Ceiling of the device, which gives ``mfu``; by default taken from the run's metadata.
    """
    shape = recorded_shape(run.metadata) if shape is None else shape
    ceiling = recorded_ceiling(run.metadata) if ceiling is None else ceiling
    window = (run.host_start_ns, run.host_end_ns)
    waits = waits_ns(run.batches)
    observation = observe(run, shape)
    steady = observation.after_warm_up
    first_end = steady.first_completion_ns
    diagnosis = diagnose_observation(observation, run, ceiling)
    return {
        "elapsed_seconds": run.elapsed_s,
        "start_up_seconds": None if first_end is None else (first_end - run.host_start_ns) / 1e9,
        "warm_up_batches": steady.warm_up_batches,
        "steady_tokens_per_sec": steady.tokens_per_sec,
        "steady_sequences_per_sec": steady.sequences_per_sec,
        "device_busy_fraction": device_busy_fraction(run.batches, window),
        "device_gap_seconds": gap_seconds(observation.whole),
        "bound_by": diagnosis.bottleneck,
        "diagnosis": diagnosis.sentence,
        "dropped_device_timings": run.device.dropped_batches if run.device.timed else None,
        "wait_time_ms_p50": _milliseconds(percentile(waits, 50)),
        "wait_time_ms_p95": _milliseconds(percentile(waits, 95)),
        **profiling_cost_keys(run),
        **host_keys(run),
        **_packing_keys(run.batches.packed()),
        **_gpu_keys(run.gpu, window, run),
        **_flops_keys(run, shape, ceiling),
    }


def device_busy_fraction(batches: BatchTable, window: Interval) -> float | None:
    """Return the union of device intervals divided by the length of a window; None without device intervals.

    Device intervals include launch gaps. Batches without device times add nothing; ``dropped_device_timings`` counts
    them.

    Args:
        batches: Batches of a run.
        window: Start and end of the window on the host's clock, ns.
    """
    stages = batches.device_stages
    if not stages.batch.size:
        return None
    inside = clip(stages.device_start_ns, stages.device_end_ns, window)
    return ratio(length(*inside), window[1] - window[0])


def gap_seconds(gaps: DeviceGaps) -> dict[str, float] | None:
    """Return the idle seconds of the device by cause, including lead-in and tail; None without device times.

    Idle and busy time add up to the window.

    Args:
        gaps: Gaps of the device in the window.
    """
    if not gaps.busy:
        return None
    by_cause = {line.cause: line.total_ns / 1e9 for line in gaps.totals()}
    return {LEAD_IN: gaps.lead_in_ns / 1e9, TAIL: gaps.tail_ns / 1e9, **by_cause}


def _milliseconds(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6


def _packing_keys(packed: BatchTable) -> dict[str, Any]:
    columns = packed.columns
    tokens, budgets = columns["tokens"], columns["token_budget"]
    if not len(tokens):
        return {"oversize_batches": None, "padding_tokens": None}
    return {
        "oversize_batches": int(((budgets > 0) & (tokens > budgets)).sum()),
        "padding_tokens": int((columns["sequences"] * columns["max_length"] - tokens).sum()),
    }


def _gpu_keys(gpu: GpuSamples | None, window: Interval, run: RunResult) -> dict[str, Any]:
    if gpu is None:
        return {}
    keys: dict[str, Any] = {}
    if (lost_after := sampling_lost_after(run)) is not None:
        # The mean of the sampled part is not that of the run.
        keys |= {"avg_gpu_util": None, "gpu_sampling_lost_after_seconds": lost_after}
    elif (utilization := mean_utilization(window, gpu.fast)) is not None:
        keys["avg_gpu_util"] = utilization
    during = [reading for reading in gpu.fast if window[0] < reading.at_ns <= window[1]]
    powers = [reading.power_mw for reading in during if reading.power_mw is not None]
    energy = energy_between(window, gpu.energy)
    joules, seconds = energy or (None, None)
    power = ratio(joules, seconds)
    covered = seconds is not None and seconds >= ENERGY_COVERAGE * run.elapsed_s
    throttling = ThrottleTimeline(gpu)
    counted = run.batches.all_packed  # else some batches would be charged for the energy of all
    whole = power * run.elapsed_s if power is not None and covered and counted else None
    return {
        **keys,
        "energy_joules": joules,
        "energy_seconds": seconds,
        "mean_power_watts": power,
        "peak_power_watts": max(powers) / 1e3 if powers else None,
        "joules_per_sequence": ratio(whole, run.total_sequences),
        "joules_per_1000_tokens": ratio(None if whole is None else 1e3 * whole, run.total_tokens),
        "throttled_seconds": None if lost_after is not None else throttled_seconds(throttling, window),
        "throttled_batches": None if lost_after is not None else throttled_batches(throttling, run.batches),
        "mean_sm_activity": activity_during(window, gpu.gpm, "sm_activity"),
        "mean_tensor_activity": activity_during(window, gpu.gpm, "tensor_activity"),
        "mean_dram_activity": activity_during(window, gpu.gpm, "dram_activity"),
    }


def _flops_keys(run: RunResult, shape: ModelShape | None, ceiling: DeviceCeiling) -> dict[str, Any]:
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
    core is free.

    Args:
        run: Run to summarize.
    """
    cost = run.cost
    if cost is None:
        return {}
    watch_cpu_ns = None if run.host is None else run.host.watch_cpu_ns
    threads = [ns for ns in (cost.collector_cpu_ns, cost.sampling_cpu_ns, watch_cpu_ns) if ns is not None]
    host_ns = cost.host_ns
    return {
        "profiling_calls": cost.calls,
        "profiling_call_ns": cost.mean_call_ns,
        "profiling_host_seconds": None if host_ns is None else host_ns / 1e9,
        "profiling_host_fraction": ratio(None if host_ns is None else host_ns / 1e9, run.elapsed_s),
        "profiling_thread_cpu_seconds": sum(threads) / 1e9 if threads else None,
    }


def sampling_lost_after(run: RunResult) -> float | None:
    """Return the seconds after which GPU sampling failed for the rest of the run; None if it did not fail.

    Reloading the driver, or a GPU that falls off the bus, makes NVML unavailable in the middle of a run.

    Args:
        run: Run to check.
    """
    tier = None if run.gpu is None else next((tier for tier in run.gpu.tiers if tier.name == "fast"), None)
    if run.gpu is None or tier is None or not (tier.errors or tier.stalled):
        return None
    times = [reading.at_ns for reading in run.gpu.fast if reading.utilization_percent is not None]
    last_ns = max(times, default=run.host_start_ns)
    if run.host_end_ns - last_ns <= _MAX_MISSING_READINGS * tier.interval_ms * 1e6:
        return None
    return max(0, last_ns - run.host_start_ns) / 1e9
