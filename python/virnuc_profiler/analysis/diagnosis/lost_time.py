# SPDX-License-Identifier: MIT
"""Time that a run lost in its steady window, as shares of the window by cause.

Gaps count in full. Time lost while the device looks busy is estimated from bounds that the measurements give:

* First copies of a batch that found an empty queue: the device waited for them to be launched.
* Launch-bound batches: the device waited for launches. SM activity bounds the loss: SMs that were active for 90 % of
  the busy time cannot have waited for more than 10 % of it. Without GPM samples all of the time counts, as an upper
  bound.
* Copies: the SMs are idle while the stream copies.
* Contention and lower clocks: the share of the busy time that they took.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
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
)
from virnuc_profiler.analysis.diagnosis.contention import (
    MIN_HIDDEN_SIZE,
    ContentionSign,
    other_process_sm_time,
    unexplained_tensor_activity,
    unsteady_device,
)
from virnuc_profiler.analysis.diagnosis.host_activity import ACTIVITIES
from virnuc_profiler.analysis.diagnosis.launches import COPY_STAGES, launched_late
from virnuc_profiler.analysis.diagnosis.observation import Observation
from virnuc_profiler.analysis.gpu.throttling import Slowdown, ThrottleTimeline, slowdown
from virnuc_profiler.analysis.model_cost import DeviceCeiling, forward_flops
from virnuc_profiler.analysis.timing.interval_columns import clip, length
from virnuc_profiler.analysis.timing.statistics import percentile
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.records import PackingRecord

WORKING_SM_SHARE: Final = 0.7
"""SMs that are active for this share of the busy time do not lack launches most of the time: a batch that ends together
with the host then waits for the device inside one of its stages. Launch-bound ESM-2 reaches 0.1 to 0.4."""

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
        waits_inside: Whether batches that end together with the host wait inside a stage instead of lacking launches.
        blocking_stage: Stage in which the host waits in most batches; None if there is none.
        copy_share: Share of the window in which the device only copied.
        contention: Signs of other users of the device.
        slowdown: Effect of throttling; None if it was not measured.
    """

    shares: Mapping[str, float]
    launch_bound_share: float | None = None
    waiting_share: float = 0.0
    waits_inside: bool = False
    blocking_stage: str | None = None
    copy_share: float = 0.0
    contention: Sequence[ContentionSign] = ()
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
    for cause, exposed_ns in _exposed(observation):
        lost[cause] += exposed_ns / observation.window_ns
    busy = observation.busy_share or 0.0
    launch_bound = [launch for launch in observation.launches if launch.launch_bound]
    launch_bound_share = len(launch_bound) / len(observation.launches)
    working = None if observation.activity.sm is None else min(1.0, ratio(observation.activity.sm, busy) or 0.0)
    waits_inside = working is not None and working >= WORKING_SM_SHARE and launch_bound_share >= TYPICAL_SHARE
    share_of_window = _stage_time(observation, {launch.batch_index for launch in launch_bound}) / observation.window_ns
    lost[SYNCHRONIZING if waits_inside else LAUNCHING] += share_of_window * (1 - (working or 0.0))
    copy_share = _copy_share(observation)
    lost[COPYING] += copy_share
    signs = _contention(observation, ceiling, launch_bound=launch_bound_share >= TYPICAL_SHARE)
    lost[SHARED_DEVICE] = lost.pop(QUEUED, 0.0) + busy * max((sign.taken_share for sign in signs), default=0.0)
    slow = None if observation.gpu is None else slowdown(ThrottleTimeline(observation.gpu), observation.window)
    lost[THROTTLING] = busy * slow.lost_share if slow is not None else 0.0
    return LostTime(
        shares={cause: share for cause, share in lost.items() if share > 0 and cause != NOT_MEASURED},
        launch_bound_share=launch_bound_share,
        waiting_share=_waiting_share(observation),
        waits_inside=waits_inside,
        blocking_stage=_typical_blocking_stage(observation),
        copy_share=copy_share,
        contention=signs,
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


def _exposed(observation: Observation) -> Iterator[tuple[str, int]]:
    """Yield cause and duration, ns, of exposed first copies, which lengthen the gap before them.

    A copy without a gap before it ran concurrently with another batch, on a separate stream. Copies of launch-bound
    batches are left out, because such batches count in full.
    """
    causes = {gap.end_ns: gap.causes for gap in observation.gaps.gaps}
    for launch in observation.launches:
        before = causes.get(launch.device_start_ns)
        if before is not None and not launch.launch_bound:
            yield next((cause for cause in (SYNCHRONIZING, COPYING) if cause in before), LAUNCHING), launch.exposed_ns


def _stage_time(observation: Observation, indices: Container[int]) -> int:
    """Return the time of the window covered by device intervals of some batches, without gaps between their stages."""
    table = observation.batches
    chosen = np.array([index in indices for index in table.columns["index"].tolist()], np.bool_)
    stages = table.device_stages
    stages = stages[chosen[stages.batch]]
    return length(*clip(stages.device_start_ns, stages.device_end_ns, observation.window))


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
    waits = sum(SYNCHRONIZING in gap.causes or COPYING in gap.causes for gap in observation.gaps.gaps)
    blocked = sum(launch.blocking_stage is not None for launch in observation.launches)
    return min(1.0, max(waits, blocked) / len(observation.launches))


def _typical_blocking_stage(observation: Observation) -> str | None:
    stages = [launch.blocking_stage for launch in observation.launches if launch.blocking_stage is not None]
    if len(stages) < TYPICAL_SHARE * len(observation.launches):
        return None
    return max(sorted(set(stages)), key=stages.count)


def _contention(observation: Observation, ceiling: DeviceCeiling, *, launch_bound: bool) -> list[ContentionSign]:
    gpu, window, shape = observation.gpu, observation.window, observation.shape

    def work(packing: PackingRecord) -> float:
        return packing.tokens if shape is None else forward_flops(packing.tokens, packing.sum_squared_lengths, shape)

    readings = () if gpu is None else gpu.fast
    clocks_mhz = [reading.sm_clock_mhz for reading in readings if window[0] < reading.at_ns <= window[1]]
    clock_mhz = percentile(clocks_mhz, 50)
    comparable = shape is not None and shape.hidden_size >= MIN_HIDDEN_SIZE and not launch_bound
    rate, activity = observation.flops_per_second, observation.activity.tensor
    signs = (
        other_process_sm_time(gpu, window),
        unexplained_tensor_activity(rate, ceiling, activity, clock_mhz) if comparable else None,
        unsteady_device(observation.launches, observation.packings, work, clocks_mhz),
    )
    return [sign for sign in signs if sign is not None]
