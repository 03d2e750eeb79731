# SPDX-License-Identifier: MIT
"""What a run lost in its steady window, by cause, as shares of that window.

Gaps are lost as they are. What is lost while the device looks busy is estimated, by bounds that the measurements
give:

* the first copies of a batch that found an empty queue: the device waited for them to be launched.
* launch-bound batches: the device waited for launches. SM activity bounds how much: SMs that were active 90 % of the
  busy time cannot have waited more than 10 % of it. Without GPM all of it counts, as an upper bound.
* copies: while the stream copies, the SMs have nothing to do.
* others on the device, and lower clocks: the share of the busy time that they took.
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
    THROTTLING,
    SYNCHRONIzING,
)
from virnuc_profiler.analysis.diagnosis.contention import (
    MIN_HIDDEN,
    SharingSign,
    foreign_processes,
    foreign_tensor_work,
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

WORKING: Final = 0.7
"""SMs that are active for this share of the busy time cannot be short of launches most of the time: a batch that ends
with the host then has a wait for the device inside one of its stages. Launch-bound ESM-2 lies at 0.1 to 0.4."""

MOSTLY: Final = 0.5
"""What holds for this share of the batches is how the loop is built, and not an accident."""


@dataclass(frozen=True)
class Losses:
    """What was lost and the signs of it.

    Attributes:
        shares: of the window by cause; what was not measured is not among them.
        launch_bound_share: share of the batches in which the device ended with the host; None without device times.
        waiting_share: share of the batches after which, or inside which, the host waited for a device that had nothing
            else queued.
        waits_inside: whether batches that end with the host are waits inside a stage, and not short of launches.
        held_by: the stage in which the host waited in most batches; None if there is none.
        copy_share: share of the window in which the device only copied.
        sharing: signs of others on the device.
        slowdown: what throttling meant; None if it was not measured.
    """

    shares: Mapping[str, float]
    launch_bound_share: float | None = None
    waiting_share: float = 0.0
    waits_inside: bool = False
    held_by: str | None = None
    copy_share: float = 0.0
    sharing: Sequence[SharingSign] = ()
    slowdown: Slowdown | None = None


def device_losses(seen: Observation, layers: int | None, hidden: int | None, ceiling: DeviceCeiling) -> Losses:
    """The losses of a run that has device times."""
    lost: dict[str, float] = defaultdict(float)
    for line in seen.gaps.totals():
        lost[line.cause] += line.total_ns / seen.window_ns
    for cause, exposed_ns in _exposed(seen):
        lost[cause] += exposed_ns / seen.window_ns
    busy = seen.busy_share or 0.0
    bound = [launch for launch in seen.launches if launch.launch_bound]
    bound_share = len(bound) / len(seen.launches)
    working = None if seen.activity.sm is None else min(1.0, ratio(seen.activity.sm, busy) or 0.0)
    waits_inside = working is not None and working >= WORKING and bound_share >= MOSTLY
    bound_share_of_window = _stage_time(seen, {launch.batch_index for launch in bound}) / seen.window_ns
    lost[SYNCHRONIzING if waits_inside else LAUNCHING] += bound_share_of_window * (1 - (working or 0.0))
    copy_share = _copy_share(seen)
    lost[COPYING] += copy_share
    signs = _sharing(seen, layers, hidden, ceiling, launch_bound=bound_share >= MOSTLY)
    lost[SHARED_DEVICE] = lost.pop(QUEUED, 0.0) + busy * max((sign.taken_share for sign in signs), default=0.0)
    slow = None if seen.gpu is None else slowdown(ThrottleTimeline(seen.gpu), seen.window)
    lost[THROTTLING] = busy * slow.lost_share if slow is not None else 0.0
    return Losses(
        shares={cause: share for cause, share in lost.items() if share > 0 and cause != NOT_MEASURED},
        launch_bound_share=bound_share,
        waiting_share=_waiting_share(seen),
        waits_inside=waits_inside,
        held_by=_held_by(seen),
        copy_share=copy_share,
        sharing=signs,
        slowdown=slow,
    )


def _exposed(seen: Observation) -> Iterator[tuple[str, int]]:
    """Exposed first copies by cause, ns: they lengthen the gap before them, as the device has nothing else to do.

    A copy that no gap precedes ran beside another batch, on a stream of its own. Those of launch-bound batches are left
    out, for all of such a batch is counted.
    """
    causes = {gap.end_ns: gap.causes for gap in seen.gaps.gaps}
    for launch in seen.launches:
        before = causes.get(launch.device_start_ns)
        if before is not None and not launch.launch_bound:
            yield next((cause for cause in (SYNCHRONIzING, COPYING) if cause in before), LAUNCHING), launch.exposed_ns


def _stage_time(seen: Observation, indices: Container[int]) -> int:
    """Time of the window covered by the device intervals of some batches; the gaps between their stages are not."""
    table = seen.batches
    chosen = np.array([index in indices for index in table.column("index").tolist()], np.bool_)
    stages = table.stages()
    stages = stages[stages.on_device & chosen[stages.batch]]
    return length(*clip(stages.device_start_ns, stages.device_end_ns, seen.window))


def _copy_share(seen: Observation) -> float:
    """Time of the window in which the device did nothing but copy, until the last of the computing.

    Not the copies that ended with the host without holding it: there the device waited for the copy to be launched.
    """
    stages = seen.all_batches.stages()
    stages = stages[stages.on_device]
    computing = stages[~stages.named(COPY_STAGES) | launched_late(stages)]
    if not len(computing):
        return length(*clip(stages.device_start_ns, stages.device_end_ns, seen.window)) / seen.window_ns
    until = seen.window[0], min(seen.window[1], int(computing.device_end_ns.max()))
    both_ns, computing_ns = (
        length(*clip(some.device_start_ns, some.device_end_ns, until)) for some in (stages, computing)
    )
    return (both_ns - computing_ns) / seen.window_ns


def _waiting_share(seen: Observation) -> float:
    waits = sum(SYNCHRONIzING in gap.causes or COPYING in gap.causes for gap in seen.gaps.gaps)
    held = sum(launch.held_by is not None for launch in seen.launches)
    return min(1.0, max(waits, held) / len(seen.launches))


def _held_by(seen: Observation) -> str | None:
    held = [launch.held_by for launch in seen.launches if launch.held_by is not None]
    if len(held) < MOSTLY * len(seen.launches):
        return None
    return max(sorted(set(held)), key=held.count)


def _sharing(
    seen: Observation, layers: int | None, hidden: int | None, ceiling: DeviceCeiling, *, launch_bound: bool
) -> list[SharingSign]:
    def work(packing: PackingRecord) -> float:
        if layers is None or hidden is None:
            return packing.tokens
        return forward_flops(packing.tokens, packing.sum_squared_lengths, layers, hidden)

    clocks = (
        []
        if seen.gpu is None
        else [r.sm_clock_mhz for r in seen.gpu.fast if seen.window[0] < r.at_ns <= seen.window[1]]
    )
    wide = hidden is not None and hidden >= MIN_HIDDEN and not launch_bound
    clock_mhz = percentile(clocks, 50)
    signs = (
        foreign_processes(seen.gpu, seen.window),
        foreign_tensor_work(seen.flops_per_second, ceiling, seen.activity.tensor, clock_mhz) if wide else None,
        unsteady_device(seen.launches, seen.packings, work, clocks),
    )
    return [sign for sign in signs if sign is not None]


def host_losses(seen: Observation) -> Mapping[str, float]:
    """Shares of the window by host activity (see ``host_activity``), for runs without device times."""
    spent: dict[str, int] = defaultdict(int)
    low, high = seen.window
    _, activities, durations_ns = seen.host.during(np.array([low]), np.array([high]))
    for activity, duration_ns in zip(activities.tolist(), durations_ns.tolist(), strict=True):
        spent[ACTIVITIES[activity]] += duration_ns
    return {activity: duration_ns / seen.window_ns for activity, duration_ns in spent.items()} if seen.window_ns else {}
