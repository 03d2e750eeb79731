# SPDX-License-Identifier: MIT
"""Time that a run lost in its steady window, as shares of the window by cause.

Gaps count in full. Time lost inside device stages is estimated from bounds that the measurements give:

* First copies of a batch that found an empty queue: the device waited for them to be launched.
* Gaps behind these copies, if most batches begin with an empty queue: see ``wait_consequences``.
* Launch-bound batches: the device waited for launches. SM activity bounds the loss: SMs that were active for 90 % of
  the time in stages cannot have waited for more than 10 % of it. Without GPM samples all of the time counts, as an
  upper bound, except for stages that the device timed itself. If the kernels of some batches were captured, the
  loss is the difference between the time in stages and the busy time instead, without those first copies.
* Copies: the SMs are idle while the stream copies.
* Contention, lower clocks, and uneven device times: the share of the time in stages that they took.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from virnuc_profiler.analysis.diagnosis.bottlenecks import (
    COPYING,
    LAUNCHING,
    NOT_MEASURED,
    QUEUED,
    SHARED_DEVICE,
    SYNCHRONIZING,
    THROTTLING,
    UNSTEADY_DEVICE,
)
from virnuc_profiler.analysis.diagnosis.contention import (
    MIN_HIDDEN_SIZE,
    ContentionSign,
    other_process_count,
    other_process_sm_time,
    unexplained_tensor_activity,
)
from virnuc_profiler.analysis.diagnosis.host_activity import ACTIVITIES
from virnuc_profiler.analysis.diagnosis.launches import COPY_STAGES, launched_late
from virnuc_profiler.analysis.diagnosis.observation import Observation
from virnuc_profiler.analysis.diagnosis.unsteady import UnsteadyDevice, unsteady_device
from virnuc_profiler.analysis.diagnosis.wait_consequences import consequences_of_waits
from virnuc_profiler.analysis.gpu.coverage import averaged_reach_ns, moments_coverage
from virnuc_profiler.analysis.gpu.throttling import Slowdown, ThrottleTimeline, slowdown
from virnuc_profiler.analysis.model_cost import DeviceCeiling
from virnuc_profiler.analysis.timing.interval_columns import clip, length
from virnuc_profiler.analysis.timing.statistics import percentile
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.stage_columns import Column

WORKING_SM_SHARE: Final = 0.7
"""SMs that are active for this share of the time in stages do not lack launches most of the time: a batch that ends
together with the host then waits for the device inside one of its stages. Launch-bound ESM-2 reaches 0.1 to 0.4."""

TYPICAL_SHARE: Final = 0.5
"""A property of this share of the batches belongs to the structure of the loop and is not an accident."""


@dataclass(frozen=True)
class LostTime:
    """Lost time and the signs of it.

    Attributes:
        shares: Shares of the window by cause. Causes that were not measured are missing.
        launch_bound_share: Share of the batches in which the device ended together with the host; None without device
            times.
        waiting_share: Share of the batches after or inside which the host waited for a device with an empty queue.
        kernels_known: Whether the time that the device waited inside stages follows from captured kernels.
        waits_inside: Whether batches that end together with the host wait inside a stage instead of lacking launches.
        blocking_stage: Stage in which the host waits in most batches; None if there is none.
        copy_share: Share of the window in which the device only copied.
        contention: Signs of other users of the device.
        other_processes: Largest number of other processes that NVML saw on the device; None if it did not look.
        unsteady: Device times of similar batches that differ; None if they do not, or cannot be compared.
        slowdown: Effect of throttling; None if it was not measured.
    """

    shares: Mapping[str, float]
    launch_bound_share: float | None = None
    waiting_share: float = 0.0
    kernels_known: bool = False
    waits_inside: bool = False
    blocking_stage: str | None = None
    copy_share: float = 0.0
    contention: Sequence[ContentionSign] = ()
    other_processes: int | None = None
    unsteady: UnsteadyDevice | None = None
    slowdown: Slowdown | None = None


def device_lost_time(observation: Observation, ceiling: DeviceCeiling) -> LostTime:
    """Return the lost time of a run that has device times.

    Args:
        observation: Measurements of the run.
        ceiling: Ceiling of the device, used to detect contention.
    """
    lost: dict[str, float] = defaultdict(float)
    for line in observation.gaps.totals():
        lost[line.cause] += line.total_ns / observation.window_ns
    exposed = _exposed(observation)
    for cause, exposed_ns in exposed.items():
        lost[cause] += exposed_ns / observation.window_ns
    waiting_share = _waiting_share(observation)
    if waiting_share >= TYPICAL_SHARE:
        for wait, cause, duration_ns in consequences_of_waits(observation):
            lost[wait] += duration_ns / observation.window_ns
            lost[cause] -= duration_ns / observation.window_ns
    in_stages = observation.stage_share or 0.0
    launches = observation.launches
    launch_bound_share = int(launches.launch_bound.sum()) / len(launches)
    working = None if observation.activity.sm is None else min(1.0, ratio(observation.activity.sm, in_stages) or 0.0)
    waits_inside = working is not None and working >= WORKING_SM_SHARE and launch_bound_share >= TYPICAL_SHARE
    busy = None if observation.kernels is None else observation.kernels.busy_share_at_own_pace
    if busy is None:
        late = launches.batch_index[launches.launch_bound]
        idle_inside = _stage_time(observation, late) / observation.window_ns * (1 - (working or 0.0))
    else:
        counted = sum(exposed.values()) / observation.window_ns
        idle_inside = max(0.0, in_stages - busy - counted)
    lost[SYNCHRONIZING if waits_inside else LAUNCHING] += idle_inside
    copy_share = _copy_share(observation)
    lost[COPYING] += copy_share
    clocks_mhz = _clocks_mhz(observation)
    signs = _contention(observation, ceiling, clocks_mhz, launch_bound=launch_bound_share >= TYPICAL_SHARE)
    taken_share = max((sign.taken_share for sign in signs), default=0.0)
    if signs:  # the other work that was observed also explains why queued work had to wait
        lost[SHARED_DEVICE] = lost.pop(QUEUED, 0.0) + in_stages * taken_share
    unsteady = unsteady_device(launches, observation.batches, observation.shape, clocks_mhz)
    if unsteady is not None:
        lost[UNSTEADY_DEVICE] = in_stages * (unsteady.lost_share - taken_share)
    slow = None if observation.gpu is None else slowdown(ThrottleTimeline(observation.gpu), observation.window)
    lost[THROTTLING] = in_stages * slow.lost_share if slow is not None else 0.0
    return LostTime(
        shares={cause: share for cause, share in lost.items() if share > 0 and cause != NOT_MEASURED},
        launch_bound_share=launch_bound_share,
        waiting_share=waiting_share,
        kernels_known=busy is not None,
        waits_inside=waits_inside,
        blocking_stage=_typical_blocking_stage(observation),
        copy_share=copy_share,
        contention=signs,
        other_processes=other_process_count(observation.gpu, observation.window),
        unsteady=unsteady,
        slowdown=slow,
    )


def host_activity_shares(observation: Observation) -> Mapping[str, float]:
    """Return shares of the window by host activity (see ``host_activity``), for runs without device times.

    Args:
        observation: Measurements of the run.
    """
    spent: dict[str, int] = defaultdict(int)
    low, high = observation.window
    _, activities, durations_ns = observation.host.during(np.array([low]), np.array([high]))
    for activity, duration_ns in zip(activities.tolist(), durations_ns.tolist(), strict=True):
        spent[ACTIVITIES[activity]] += duration_ns
    window_ns = observation.window_ns
    return {activity: duration_ns / window_ns for activity, duration_ns in spent.items()} if window_ns else {}


def _exposed(observation: Observation) -> Mapping[str, int]:
    """Return the duration, ns, of exposed first copies, which lengthen the gap before them, by the cause of that gap.

    A copy without a gap before it ran concurrently with another batch, on a separate stream. Copies of launch-bound
    batches are left out, because such batches count in full.
    """
    parts, launches = observation.gaps.parts, observation.launches
    if not len(parts.end_ns):
        return {}
    place = np.minimum(np.searchsorted(parts.end_ns, launches.device_start_ns), len(parts.end_ns) - 1)
    chosen = (parts.end_ns[place] == launches.device_start_ns) & ~launches.launch_bound
    waits = {cause: parts.has_cause(cause)[place] for cause in (SYNCHRONIZING, COPYING)}
    masks = {
        SYNCHRONIZING: waits[SYNCHRONIZING],
        COPYING: waits[COPYING] & ~waits[SYNCHRONIZING],
        LAUNCHING: ~waits[SYNCHRONIZING] & ~waits[COPYING],
    }
    return {cause: int(launches.exposed_ns[chosen & mask].sum()) for cause, mask in masks.items()}


def _stage_time(observation: Observation, indices: Column) -> int:
    """Return the time of the window in device intervals of some batches that can include waits for launches.

    Gaps between stages count elsewhere, and stages that the device timed itself include no such waits.
    """
    table = observation.batches[:]  # a view, so that the columns made for it are not kept
    chosen = np.isin(table.columns["index"], indices)
    stages = table.device_stages
    stages = stages[chosen[stages.batch]]
    exact = stages[stages.timestamped == 1]
    all_ns, exact_ns = (
        length(*clip(some.device_start_ns, some.device_end_ns, observation.window)) for some in (stages, exact)
    )
    return all_ns - exact_ns


def _copy_share(observation: Observation) -> float:
    """Return the share of the window in which the device only copied, up to the end of its last computation.

    Copies that end together with the host without blocking it count as computation: the device waited for them to be
    launched.
    """
    window, window_ns = observation.window, observation.window_ns
    stages = observation.all_batches.device_stages
    computing = stages[~stages.named(COPY_STAGES) | launched_late(stages)]
    if not len(computing):
        return length(*clip(stages.device_start_ns, stages.device_end_ns, window)) / window_ns
    until = window[0], min(window[1], int(computing.device_end_ns.max()))
    both_ns, computing_ns = (
        length(*clip(some.device_start_ns, some.device_end_ns, until)) for some in (stages, computing)
    )
    return (both_ns - computing_ns) / window_ns


def _waiting_share(observation: Observation) -> float:
    waits = int(observation.gaps.parts.has_cause(SYNCHRONIZING, COPYING).sum())
    blocked = int((observation.launches.blocking >= 0).sum())
    return min(1.0, max(waits, blocked) / len(observation.launches))


def _typical_blocking_stage(observation: Observation) -> str | None:
    launches = observation.launches
    blocking = launches.blocking[launches.blocking >= 0]
    if not len(blocking) or len(blocking) < TYPICAL_SHARE * len(launches):
        return None
    count = np.bincount(blocking, minlength=len(launches.names)).tolist()
    return min(zip(launches.names, count, strict=True), key=lambda pair: (-pair[1], pair[0]))[0]


def _clocks_mhz(observation: Observation) -> list[float | None]:
    """Return the SM clocks that were sampled in the window; none if they were sampled in too little of it."""
    gpu, (low, high) = observation.gpu, observation.window
    readings = () if gpu is None else gpu.fast
    known = [each for each in readings if low < each.at_ns <= high and each.sm_clock_mhz is not None]
    if gpu is None or not known:
        return []
    seen = moments_coverage((low, high), (reading.at_ns for reading in known), averaged_reach_ns(gpu))
    return [reading.sm_clock_mhz for reading in known] if seen.sufficient else []


def _contention(
    observation: Observation, ceiling: DeviceCeiling, clocks_mhz: Sequence[float | None], *, launch_bound: bool
) -> list[ContentionSign]:
    shape = observation.shape
    comparable = shape is not None and shape.hidden_size >= MIN_HIDDEN_SIZE and not launch_bound
    rate, activity = observation.flops_per_second, observation.activity.tensor
    signs = (
        other_process_sm_time(observation.gpu, observation.window),
        unexplained_tensor_activity(rate, ceiling, activity, percentile(clocks_mhz, 50)) if comparable else None,
    )
    return [sign for sign in signs if sign is not None]
