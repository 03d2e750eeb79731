# SPDX-License-Identifier: MIT
"""The evidence of a diagnosis: what was measured, as statements with their figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from virnuc_profiler.analysis.diagnosis.bottlenecks import LABELS
from virnuc_profiler.analysis.diagnosis.host_activity import ACTIVITY_LABELS
from virnuc_profiler.analysis.diagnosis.lost_time import LostTime
from virnuc_profiler.analysis.diagnosis.observation import Observation
from virnuc_profiler.analysis.diagnosis.start_up import StartUp
from virnuc_profiler.analysis.diagnosis.start_up_wording import percent
from virnuc_profiler.analysis.gpu.coverage import WHOLE_SHARE
from virnuc_profiler.analysis.gpu.throttling import POWER_CAP, REASONS, Slowdown
from virnuc_profiler.telemetry.number_text import counted


class Evidence(NamedTuple):
    """One observation that supports a diagnosis.

    Attributes:
        statement: Description of what was measured.
        figure: Its value, as text.
    """

    statement: str
    figure: str


def device_evidence(
    observation: Observation, lost_time: LostTime, mfu: float | None, uncertain: Sequence[str]
) -> Iterator[Evidence]:
    """Yield the evidence of device times, GPM and NVML, except for the gaps.

    Args:
        observation: Measurements of the run.
        lost_time: Lost time of the run.
        mfu: Model FLOPs utilization in the window, or None.
        uncertain: Causes of lost time that the error of the clocks may explain.
    """
    yield _window(observation)
    yield from _start_up(observation.start_up)
    if observation.stage_share is not None:
        yield Evidence("in device stages, at most", percent(observation.stage_share))
    if observation.kernels is not None and (busy := observation.kernels.busy_share_at_own_pace) is not None:
        batches = counted(observation.kernels.batches, "batch", "batches")
        yield Evidence(f"GPU busy at this pace, by CUPTI in {batches}", percent(busy))
    if observation.timestamped_share is not None:
        yield Evidence("in stages that the device timed itself", percent(observation.timestamped_share))
    if lost_time.launch_bound_share is not None:
        yield Evidence("batches in which the device ended with the host", percent(lost_time.launch_bound_share))
    if lost_time.waiting_share:
        yield Evidence("batches after which the host waited with an empty queue", percent(lost_time.waiting_share))
    if lost_time.blocking_stage:
        yield Evidence("stage that blocks the host until the device is done", lost_time.blocking_stage)
    if lost_time.copy_share:
        yield Evidence("device time in copies alone", percent(lost_time.copy_share))
    for unit, label in (("sm", "SM"), ("tensor", "tensor"), ("dram", "DRAM")):
        if (activity := getattr(observation.activity, unit)) is not None:
            seen_share = observation.activity.seen_share or 0.0
            part = "" if seen_share >= WHOLE_SHARE else f" (of {percent(seen_share)} of that time)"
            yield Evidence(f"{label} activity", f"{activity:.2f}{part}")
    for sign in lost_time.contention:
        yield Evidence(sign.statement, sign.figure)
    if lost_time.other_processes is not None:
        yield Evidence("other processes on the device, by NVML", f"{lost_time.other_processes:,}")
    if lost_time.unsteady is not None:
        yield Evidence("device time of similar batches, p90 over p10", f"{lost_time.unsteady.slow_to_fast:.1f}x")
    if lost_time.slowdown is not None:
        yield from _clocks(lost_time.slowdown)
    if (rate := observation.flops_per_second) is not None:
        yield Evidence("model FLOP/s", f"{rate / 1e12:,.1f} TFLOP/s")
    if mfu is not None:
        yield Evidence("MFU, of the calibrated ceiling", percent(mfu))
    for cause in uncertain:
        statement = (
            f"{LABELS[cause]}, which the clocks' error of {observation.clock_error_ns / 1e3:,.0f} us may explain"
        )
        yield Evidence(statement, percent(lost_time.shares[cause]))
    missing = observation.batch_count - len(observation.launches)
    if missing:
        yield Evidence("batches without device times", f"{missing:,} of {observation.batch_count:,}")


def host_evidence(shares: Mapping[str, float], observation: Observation, reason: str) -> Iterator[Evidence]:
    """Yield the evidence of host times alone.

    Args:
        shares: Shares of the window by host activity.
        observation: Measurements of the run.
        reason: Why there are no device times.
    """
    yield _window(observation)
    yield from _start_up(observation.start_up)
    for activity, share in sorted(shares.items(), key=itemgetter(1), reverse=True):
        yield Evidence(f"host: {ACTIVITY_LABELS[activity]}", percent(share))
    yield Evidence("device", f"not measured ({reason})")


def _window(observation: Observation) -> Evidence:
    part = "after warm-up" if observation.steady else "the whole run, too short to exclude its warm-up"
    figure = f"{counted(observation.batch_count, 'batch', 'batches')}, {observation.window_ns / 1e9:.3f} s ({part})"
    return Evidence("window", figure)


def _start_up(start_up: StartUp | None) -> Iterator[Evidence]:
    if start_up is None:
        return
    elapsed, whole = f"{start_up.elapsed_ns / 1e9:.3f}", f"{start_up.run_ns / 1e9:.3f}"
    yield Evidence("start-up", f"{elapsed} of {whole} s ({_seconds_by_phase(start_up.phases)})")
    if start_up.warm_up:
        extra_s = sum(start_up.warm_up.values()) / 1e9
        figure = f"{extra_s:.3f} s ({_seconds_by_phase(start_up.warm_up)})"
        yield Evidence("next batches, beyond their time at the steady pace", figure)
    if start_up.before_ns is not None:
        known = f" ({_seconds_by_phase(start_up.before)})" if start_up.before else ""
        yield Evidence("start of the process to start of the run", f"{start_up.before_ns / 1e9:.3f} s{known}")


def _seconds_by_phase(spent_ns: Mapping[str, int]) -> str:
    phases = sorted(spent_ns.items(), key=itemgetter(1), reverse=True)
    return ", ".join(f"{LABELS.get(phase, phase)} {duration_ns / 1e9:.3f}" for phase, duration_ns in phases)


def _clocks(slow: Slowdown) -> Iterator[Evidence]:
    if slow.median_clock_mhz is not None:
        limit = "" if slow.max_clock_mhz is None else f" of {slow.max_clock_mhz:,}"
        yield Evidence("SM clock, median", f"{slow.median_clock_mhz:,.0f}{limit} MHz")
    for reason, share in slow.shares.items():
        normal = " (normal at full load)" if reason == REASONS[POWER_CAP] and not slow.lost_share else ""
        yield Evidence(f"clocks lowered by {reason}", f"{percent(share)} of the time{normal}")
