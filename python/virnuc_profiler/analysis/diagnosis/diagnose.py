# SPDX-License-Identifier: MIT
"""The bottleneck of a run, in plain words and with its evidence.

The cause to which the steady window lost most time (see ``lost_time``) is the bottleneck, unless that time is
negligible. If it is, the device was busy and nothing slowed it down: the run is healthy, and bound by the device's
arithmetic or memory bandwidth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from virnuc_profiler.analysis.diagnosis import host_activity as host
from virnuc_profiler.analysis.diagnosis.bottlenecks import (
    COLLATION,
    CONSUMING,
    COPYING,
    DATA_LOADING,
    DEVICE,
    DEVICE_ARITHMETIC,
    HOST_ARITHMETIC,
    MEMORY_BANDWIDTH,
    NOT_MEASURED,
    OTHER_HOST_WORK,
    SYNCHRONIZING,
)
from virnuc_profiler.analysis.diagnosis.gaps import CauseTotal
from virnuc_profiler.analysis.diagnosis.host_limits import host_changes
from virnuc_profiler.analysis.diagnosis.lost_time import (
    TYPICAL_SHARE,
    LostTime,
    device_lost_time,
    host_activity_shares,
)
from virnuc_profiler.analysis.diagnosis.observation import Activity, Observation, observe
from virnuc_profiler.analysis.diagnosis.wording import (
    Evidence,
    bottleneck_sentence,
    device_evidence,
    further_sentence,
    healthy_sentence,
    host_evidence,
)
from virnuc_profiler.analysis.model_cost import (
    DeviceCeiling,
    ModelShape,
    model_flops_utilization,
    recorded_ceiling,
    recorded_shape,
)
from virnuc_profiler.telemetry.run_result import RunResult

NEGLIGIBLE: Final = 0.02
"""A healthy run may lose up to this share of its time to one cause. Refilled buffers and noise stay below it: repeated
runs differ by about 2 %, so a smaller gain could not be observed."""

NEGLIGIBLE_STRUCTURAL: Final = 0.005
"""The same limit for waits that occur at most batches. Their gaps show only part of their cost: with an empty queue the
first launches of the next batch are exposed inside its device interval, and each delay of the host reaches the device.
"""

NEGLIGIBLE_ON_HOST: Final = 0.05
"""The same limit without device times; also where the queue state of a batch stops being ``full``."""

MEMORY_ACTIVITY: Final = 0.6
"""DRAM that is active for 60 % of the time is near the limit of real kernels, 80 to 90 % including latencies."""

TENSOR_ACTIVITY: Final = 0.3
"""Tensor cores that are this active set the pace, regardless of memory traffic."""

MIN_TIMED_SHARE: Final = 0.5
"""If a smaller share of the batches has device times, gaps are meaningless."""

_HOST_CAUSES: Final = {
    host.FETCHING: DATA_LOADING,
    host.COLLATING: COLLATION,
    host.CONSUMING: CONSUMING,
    host.OWN_STAGE: OTHER_HOST_WORK,
    host.UNSTAGED: OTHER_HOST_WORK,
}


@dataclass(frozen=True)
class Diagnosis:
    """The bottleneck of a run.

    Attributes:
        bottleneck: One of the names in ``bottlenecks``; ``not_measured`` if it cannot be determined.
        healthy: Whether the device is busy and nothing slows it down. Never True if that was not measured.
        sentence: Verdict with a suggested remedy.
        evidence: Statements and their figures.
        further: Sentences on other causes of lost time, the largest first.
        window_ns: Length of the window that was analyzed.
        steady: Whether the window is the part after warm-up instead of the whole run.
        busy_share: Share of the window in which the device was busy; None without device times.
        mfu: Model FLOPs utilization in the window; None without the model's shape or the device's ceiling.
        lost_time: Shares of the window by cause.
        gaps: Device gaps of the window by cause, the largest first.
    """

    bottleneck: str
    healthy: bool
    sentence: str
    evidence: tuple[Evidence, ...] = ()
    further: tuple[str, ...] = ()
    window_ns: int = 0
    steady: bool = False
    busy_share: float | None = None
    mfu: float | None = None
    lost_time: Mapping[str, float] = field(default_factory=dict)
    gaps: tuple[CauseTotal, ...] = ()


def diagnose_run(run: RunResult, *, shape: ModelShape | None = None, ceiling: DeviceCeiling | None = None) -> Diagnosis:
    """Determine the bottleneck of a run.

    Args:
        run: Run to diagnose.
        shape: Shape of the model, from which the FLOPs of batches with packing statistics follow. By default it is
            taken from the run's metadata, where the sweep and the command line keep it.
        ceiling: Ceiling of the device in the precision of the run, which gives ``mfu`` and makes contention easier to
            detect. By default it is taken from the run's metadata.
    """
    observation = observe(run, recorded_shape(run.metadata) if shape is None else shape)
    return diagnose_observation(observation, run, recorded_ceiling(run.metadata) if ceiling is None else ceiling)


def diagnose_observation(observation: Observation, run: RunResult, ceiling: DeviceCeiling) -> Diagnosis:
    """Determine the bottleneck of a run from its measurements.

    Args:
        observation: Measurements of the run.
        run: The run.
        ceiling: Ceiling of the device.
    """
    batches = observation.batch_count
    if not batches or not observation.window_ns:
        reason = "the recorded work took no time" if batches else "no batch was recorded"
        return Diagnosis(NOT_MEASURED, False, f"No diagnosis: {reason}.")
    on_host = len(observation.launches) < MIN_TIMED_SHARE * batches or not observation.gaps.busy
    found = _from_host_times(observation, run) if on_host else _from_device_times(observation, ceiling)
    found = replace(found, **host_changes(found, run))
    return found if observation.steady else replace(found, sentence=f"{found.sentence} {_too_short(batches)}")


def _too_short(batches: int) -> str:
    few = "1 batch is" if batches == 1 else f"{batches:,} batches are"
    return f"(Start-up is included, because {few} too few to exclude it: use more sequences.)"


def _from_device_times(observation: Observation, ceiling: DeviceCeiling) -> Diagnosis:
    lost_time = device_lost_time(observation, ceiling)
    ranked = _worth_naming(lost_time)
    bottleneck = ranked[0] if ranked else _device_bottleneck(observation.activity)
    seconds, flops = observation.window_ns / 1e9, observation.flops
    mfu = None if flops is None else model_flops_utilization(flops, seconds, ceiling)
    if ranked:
        sentence = bottleneck_sentence(bottleneck, lost_time)
    else:
        sentence = healthy_sentence(bottleneck, observation.busy_share or 0.0)
    return Diagnosis(
        bottleneck=bottleneck,
        healthy=not ranked,
        sentence=sentence,
        evidence=tuple(device_evidence(observation, lost_time, mfu)),
        further=tuple(further_sentence(cause, lost_time.shares[cause]) for cause in ranked[1:]),
        window_ns=observation.window_ns,
        steady=observation.steady,
        busy_share=observation.busy_share,
        mfu=mfu,
        lost_time=lost_time.shares,
        gaps=tuple(observation.gaps.totals()),
    )


def _worth_naming(lost_time: LostTime) -> list[str]:
    """Return the causes whose loss is not negligible, the largest first."""
    structural = lost_time.waiting_share >= TYPICAL_SHARE

    def negligible(cause: str) -> float:
        return NEGLIGIBLE_STRUCTURAL if structural and cause in (SYNCHRONIZING, COPYING) else NEGLIGIBLE

    named = [cause for cause, share in lost_time.shares.items() if share >= negligible(cause)]
    return sorted(named, key=lambda cause: (-lost_time.shares[cause], cause))


def _device_bottleneck(activity: Activity) -> str:
    if activity.dram is None and activity.tensor is None:
        return DEVICE
    memory_bound = (activity.dram or 0.0) >= MEMORY_ACTIVITY and (activity.tensor or 0.0) < TENSOR_ACTIVITY
    return MEMORY_BANDWIDTH if memory_bound else DEVICE_ARITHMETIC


def _from_host_times(observation: Observation, run: RunResult) -> Diagnosis:
    """Diagnose from host times alone, which show waits for data and packing but not the device."""
    on_cpu = not run.device.timed and run.device.uuid is None
    spent = host_activity_shares(observation)
    shares: dict[str, float] = {}
    for activity, cause in _HOST_CAUSES.items():
        shares[cause] = shares.get(cause, 0.0) + spent.get(activity, 0.0)
    if not on_cpu:  # time outside of all stages may be a wait for a busy device, which loses nothing
        shares.pop(OTHER_HOST_WORK)
    ranked = _ranked_on_host(shares)
    bottleneck = ranked[0] if ranked else HOST_ARITHMETIC if on_cpu else NOT_MEASURED
    reason = run.device.reason or "most batches have no device times"
    return Diagnosis(
        bottleneck=bottleneck,
        healthy=False,
        sentence=_host_sentence(bottleneck, shares, on_cpu=on_cpu),
        evidence=tuple(host_evidence(spent, observation, reason)),
        further=tuple(further_sentence(cause, shares[cause]) for cause in ranked[1:]),
        window_ns=observation.window_ns,
        steady=observation.steady,
        lost_time={cause: share for cause, share in shares.items() if share > 0},
    )


def _ranked_on_host(shares: Mapping[str, float]) -> Sequence[str]:
    named = [cause for cause, share in shares.items() if share >= NEGLIGIBLE_ON_HOST]
    return sorted(named, key=lambda cause: (-shares[cause], cause))


def _host_sentence(bottleneck: str, shares: Mapping[str, float], *, on_cpu: bool) -> str:
    if bottleneck in shares:
        return bottleneck_sentence(bottleneck, LostTime(shares))
    if on_cpu:
        return healthy_sentence(HOST_ARITHMETIC, 0.0)
    return "The host does not wait for data. Whether the device was busy was not measured."
