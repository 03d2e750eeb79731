# SPDX-License-Identifier: MIT
"""What a run's records say beyond the sums of its batches: keys that extend the telemetry summary."""

from __future__ import annotations

from typing import Any, Final

from virnuc_profiler.analysis.diagnosis.bottlenecks import LEAD_IN, TAIL
from virnuc_profiler.analysis.diagnosis.diagnose import diagnose_observation
from virnuc_profiler.analysis.diagnosis.gaps import DeviceGaps
from virnuc_profiler.analysis.diagnosis.observation import observe
from virnuc_profiler.analysis.gpu.activity import activity_during, energy_between, mean_utilization
from virnuc_profiler.analysis.gpu.throttling import ThrottleTimeline, throttled_batches, throttled_seconds
from virnuc_profiler.analysis.model_cost import DeviceCeiling, forward_flops, model_flops_utilization
from virnuc_profiler.analysis.summary.batch_metrics import waits_ns
from virnuc_profiler.analysis.timing.completion import completed_ns
from virnuc_profiler.analysis.timing.interval_columns import clip, length
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.analysis.timing.statistics import percentile
from virnuc_profiler.analysis.timing.steady_state import completions, steady_state
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.records import GpuSamples
from virnuc_profiler.telemetry.run_result import RunResult

ENERGY_COVERAGE = 0.8
"""Joules per sequence need a counter that covers this share of the run; the rest is taken at the same power."""


def run_summary(
    run: RunResult,
    *,
    layers: int | None = None,
    hidden: int | None = None,
    ceiling_flops_per_second: float | None = None,
    ceiling_sm_clock_mhz: float | None = None,
) -> dict[str, Any]:
    """Keys to pass to ``TelemetryLogger.finalize``, ``elapsed_seconds`` (the run's own wall time) among them.

    What was not measured is None; keys that only an NVML sampler can fill are there only if the GPU was sampled,
    so that they never replace what the batches had.

    Args:
        run: the run.
        layers: of the model; with `hidden` it gives ``achieved_tflops``.
        hidden: the model's width.
        ceiling_flops_per_second: what this device reaches in a large matrix product; gives ``mfu``.
        ceiling_sm_clock_mhz: the SM clock at which it does.
    """
    window = (run.host_start_ns, run.host_end_ns)
    packed = run.batches.packed()
    waits = waits_ns(run.batches)
    steady = steady_state(completions(run.batches))
    first_end = min(completed_ns(run.batches).tolist(), default=None)
    seen = observe(run, layers, hidden)
    ceiling = DeviceCeiling(ceiling_flops_per_second, ceiling_sm_clock_mhz)
    diagnosis = diagnose_observation(seen, run, layers=layers, hidden=hidden, ceiling=ceiling)
    return {
        "elapsed_seconds": run.elapsed_s,
        "start_up_seconds": None if first_end is None else (first_end - run.host_start_ns) / 1e9,
        "warm_up_batches": steady.warm_up_batches,
        "steady_tokens_per_sec": steady.tokens_per_sec,
        "steady_sequences_per_sec": steady.sequences_per_sec,
        "device_busy_fraction": device_busy_fraction(run.batches, window),
        "device_gap_seconds": gap_seconds(seen.whole),
        "bound_by": diagnosis.bound,
        "diagnosis": diagnosis.sentence,
        "dropped_device_timings": run.device.dropped_batches if run.device.timed else None,
        "wait_time_ms_p50": _milliseconds(percentile(waits, 50)),
        "wait_time_ms_p95": _milliseconds(percentile(waits, 95)),
        **profiling_cost_keys(run),
        **_packing_keys(packed),
        **_gpu_keys(run.gpu, window, run),
        **_flops_keys(packed, run, layers, hidden, ceiling_flops_per_second),
    }


def device_busy_fraction(batches: BatchTable, window: Interval) -> float | None:
    """Union of device intervals over the time of the window, 0 to 1; None without device intervals.

    A device interval includes launch gaps, and a batch whose device times were dropped adds nothing, so see
    ``dropped_device_timings`` beside it.
    """
    stages = batches.stages()
    stages = stages[stages.on_device]
    inside = clip(stages.device_start_ns, stages.device_end_ns, window)
    return ratio(length(*inside), window[1] - window[0]) if len(stages) else None


def gap_seconds(gaps: DeviceGaps) -> dict[str, float] | None:
    """Idle time of the device by cause, with the lead-in and the tail; None without device times.

    With the busy time they add up to the window.
    """
    if not gaps.busy:
        return None
    by_cause = {line.cause: line.total_ns / 1e9 for line in gaps.totals()}
    return {LEAD_IN: gaps.lead_in_ns / 1e9, TAIL: gaps.tail_ns / 1e9, **by_cause}


def _milliseconds(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6


def _packing_keys(packed: BatchTable) -> dict[str, Any]:
    if not packed:
        return {"oversize_batches": None, "padding_tokens": None}
    tokens, budgets = packed.column("tokens"), packed.column("token_budget")
    return {
        "oversize_batches": int(((budgets > 0) & (tokens > budgets)).sum()),
        "padding_tokens": int((packed.column("sequences") * packed.column("max_length") - tokens).sum()),
    }


def _gpu_keys(gpu: GpuSamples | None, window: Interval, run: RunResult) -> dict[str, Any]:
    if gpu is None:
        return {}
    keys: dict[str, Any] = {}
    if (lost_after := sampling_lost_after(run)) is not None:
        # A mean over the part that was seen would pass for the whole run's.
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
    counted = len(run.batches.packed()) == len(run.batches)  # else the counted ones would pay for the others
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


def _flops_keys(
    packed: BatchTable,
    run: RunResult,
    layers: int | None,
    hidden: int | None,
    ceiling: float | None,
) -> dict[str, Any]:
    """Work of the model; no keys if a batch does not say what it held, for the others' would pass for all of it."""
    if layers is None or hidden is None or not packed or len(packed) < len(run.batches):
        return {}
    flops = forward_flops(packed.sum("tokens"), packed.sum("sum_squared_lengths"), layers, hidden)
    achieved = ratio(flops, run.elapsed_s)
    keys = {"achieved_tflops": None if achieved is None else achieved / 1e12}
    if ceiling is not None:
        keys["mfu"] = model_flops_utilization(flops, run.elapsed_s, ceiling)
    return keys


def profiling_cost_keys(run: RunResult) -> dict[str, Any]:
    """Keys of the telemetry summary; none for a run that did not measure its cost.

    ``profiling_host_fraction`` is the share of the run that the loop spent inside the profiler: what profiling can
    have slowed it down by, where the host is what the run waits for. The threads run beside the loop; they cost
    it something only where no core is free.
    """
    cost = run.cost
    if cost is None:
        return {}
    threads = [ns for ns in (cost.harvest_cpu_ns, cost.sampling_cpu_ns) if ns is not None]
    host_ns = cost.host_ns
    return {
        "profiling_calls": cost.calls,
        "profiling_call_ns": cost.mean_call_ns,
        "profiling_host_seconds": None if host_ns is None else host_ns / 1e9,
        "profiling_host_fraction": ratio(None if host_ns is None else host_ns / 1e9, run.elapsed_s),
        "profiling_thread_cpu_seconds": sum(threads) / 1e9 if threads else None,
    }


_LATE: Final = 5
"""Readings that may be missing at the end without meaning anything: a busy machine is late by some."""


def sampling_lost_after(run: RunResult) -> float | None:
    """Seconds from the run's start to the last reading of a sampling that failed from then on; None if it went on.

    A driver that is reloaded, or a GPU that falls off the bus, takes NVML away in the middle of a run.
    """
    tier = None if run.gpu is None else next((tier for tier in run.gpu.tiers if tier.name == "fast"), None)
    if run.gpu is None or tier is None or not (tier.errors or tier.stalled):
        return None
    times = [reading.at_ns for reading in run.gpu.fast if reading.utilization_percent is not None]
    last_ns = max(times, default=run.host_start_ns)
    if run.host_end_ns - last_ns <= _LATE * tier.interval_ms * 1e6:
        return None
    return max(0, last_ns - run.host_start_ns) / 1e9
