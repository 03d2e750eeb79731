# SPDX-License-Identifier: MIT
"""The gaps between the device's intervals, and what each is due to.

A gap is due to what the host did in it, unless the host was **waiting for the device** when the gap began. Then the
device has run dry because nothing was queued behind what it was doing, and the host could have used its wait to do
what it now does in the gap. So of such a gap as much as the host had waited is due to the wait (synchronising, or
copying if it waited inside a copy), and the rest to what the host did. Fetching and collating that take a substantial
share of the cycle are named for themselves all the same: a loader that is behind is behind, whether asked early or
late.

Where the next stage had been queued before the gap began, the host has nothing to do with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from virnuc_profiler.analysis import host_activity as host
from virnuc_profiler.analysis.causes import (
    COLLATION,
    CONSUMING,
    COPYING,
    DATA_LOADING,
    LAUNCHING,
    NOT_MEASURED,
    OTHER_HOST_WORK,
    QUEUED,
    SYNCHRONISING,
)
from virnuc_profiler.analysis.host_activity import HostTimeline
from virnuc_profiler.analysis.intervals import Interval, clip, subtract, union
from virnuc_profiler.analysis.launches import COPY_STAGES, PROMPT_NS, device_interval, held_ns
from virnuc_profiler.telemetry.records import BatchRecord, StageRecord

WAKE_UP_NS: Final = 500_000
"""A host that waited for the device goes on within this time: an event that sleeps takes some 50 µs to wake it, ten
times that on a loaded machine. A consumer that merely ends at that moment by chance is rarely so close."""

SUBSTANTIAL_SHARE: Final = 0.05
"""Fetching or collating counts for itself from this share of the cycle (the work before a gap, and the gap) on; it is
where the loader stops being ``full``, see ``batch_metrics.FULL_BELOW``. Below, it is the price of asking."""

_CAUSES: Final[Mapping[str, str]] = {
    host.FETCHING: DATA_LOADING,
    host.COLLATING: COLLATION,
    host.LAUNCHING: LAUNCHING,
    host.CONSUMING: CONSUMING,
    host.OWN_STAGE: OTHER_HOST_WORK,
    host.UNSTAGED: OTHER_HOST_WORK,
    host.UNKNOWN: NOT_MEASURED,
}
_MAY_BE_A_WAIT: Final = frozenset({host.UNSTAGED, host.CONSUMING, host.OWN_STAGE})


@dataclass(frozen=True, slots=True)
class Gap:
    """The device had nothing to do. ``causes`` are ns by name, which add up to the gap exactly."""

    start_ns: int
    end_ns: int
    causes: Mapping[str, int]

    @property
    def duration_ns(self) -> int:
        """How long it lasted."""
        return self.end_ns - self.start_ns


@dataclass(frozen=True, slots=True)
class CauseTotal:
    """The gaps, or parts of gaps, that are due to one cause."""

    cause: str
    gaps: int
    total_ns: int


@dataclass(frozen=True)
class DeviceGaps:
    """A window in three parts: busy, gaps between busy times, and the idle time before the first and after the last.

    Without device intervals there is no way to tell: then ``busy`` is empty and the rest 0.
    """

    window: Interval
    busy: Sequence[Interval] = ()
    gaps: Sequence[Gap] = ()

    @property
    def busy_ns(self) -> int:
        """Time in which the device had something to do, launch gaps inside stages included."""
        return sum(end - start for start, end in self.busy)

    @property
    def lead_in_ns(self) -> int:
        """From the window's start to the first device interval."""
        return self.busy[0][0] - self.window[0] if self.busy else 0

    @property
    def tail_ns(self) -> int:
        """From the last device interval to the window's end."""
        return self.window[1] - self.busy[-1][1] if self.busy else 0

    def within(self, window: Interval) -> DeviceGaps:
        """The part inside a window that starts and ends while the device is busy."""
        low, high = window
        inside = [gap for gap in self.gaps if low <= gap.start_ns and gap.end_ns <= high]
        return DeviceGaps(window, clip(self.busy, window), inside)

    def totals(self) -> list[CauseTotal]:
        """By cause, the largest first."""
        count: dict[str, int] = defaultdict(int)
        total: dict[str, int] = defaultdict(int)
        for gap in self.gaps:
            for cause, duration_ns in gap.causes.items():
                count[cause] += 1
                total[cause] += duration_ns
        return sorted(
            (CauseTotal(cause, count[cause], total[cause]) for cause in total),
            key=lambda line: (-line.total_ns, line.cause),
        )


def device_gaps(
    batches: Sequence[BatchRecord], window: Interval, timeline: HostTimeline, clock_slack_ns: int = 0
) -> DeviceGaps:
    """The gaps of a run.

    Args:
        batches: with device times.
        window: the run.
        timeline: what the host did in that window.
        clock_slack_ns: how far device times may be off on the host's axis.
    """
    stages = [stage for batch in batches for stage in batch.stages if stage.device_ns is not None]
    busy = union(clip(map(device_interval, stages), window))
    if not busy:
        return DeviceGaps(window)
    between = subtract([(busy[0][0], busy[-1][1])], busy)
    before, after = _neighbours(between, stages)
    queued = {end for start, end in between if end in after and after[end].host_start_ns < start - clock_slack_ns}
    waits = {
        start: _wait_before(start, before.get(start), timeline, clock_slack_ns)
        for start, end in between
        if end not in queued
    }
    usual = _waits_usually(waits.values())
    gaps = []
    for (busy_start, _), (start, end) in zip(busy, between, strict=False):
        if end in queued:
            causes = {QUEUED: end - start}
        else:
            wait = waits[start] if waits[start].prompt or usual else _NO_WAIT
            causes = _causes(list(timeline.during((start, end))), wait, end - busy_start)
        gaps.append(Gap(start, end, causes))
    return DeviceGaps(window, busy, gaps)


def _neighbours(
    gaps: Sequence[Interval], stages: Iterable[StageRecord]
) -> tuple[dict[int, StageRecord], dict[int, StageRecord]]:
    """The stages at whose end a gap starts, and those at whose start one ends."""
    starts, ends = {start for start, _ in gaps}, {end for _, end in gaps}
    before: dict[int, StageRecord] = {}
    after: dict[int, StageRecord] = {}
    for stage in stages:
        device_start, device_end = device_interval(stage)
        if device_end in starts:
            before[device_end] = stage
        if device_start in ends:
            after.setdefault(device_start, stage)
    return before, after


class _Wait(NamedTuple):
    """The host waited for the device when it ran dry: as a cause, for how long, and whether it went on promptly."""

    cause: str
    duration_ns: int
    prompt: bool


_NO_WAIT: Final = _Wait(SYNCHRONISING, 0, True)


def _wait_before(gap_start_ns: int, last: StageRecord | None, timeline: HostTimeline, clock_slack_ns: int) -> _Wait:
    """How the host waited, or may have waited, when the device had done its last stage."""
    if last is None:
        return _NO_WAIT
    if held := held_ns(last, clock_slack_ns):
        return _Wait(COPYING if last.name in COPY_STAGES else SYNCHRONISING, held, True)
    if gap_start_ns - last.host_end_ns <= PROMPT_NS + clock_slack_ns:
        return _NO_WAIT  # the host was launching until then
    segment = timeline.at(gap_start_ns - clock_slack_ns)
    if segment is None or segment.activity not in _MAY_BE_A_WAIT:
        return _NO_WAIT
    waited_ns = max(0, gap_start_ns - max(segment.start_ns, last.host_end_ns))
    return _Wait(SYNCHRONISING, waited_ns, segment.end_ns <= gap_start_ns + WAKE_UP_NS)


def _waits_usually(waits: Iterable[_Wait]) -> bool:
    """Whether the loop waits for the device at that place as a rule; then going on late is waking up late."""
    prompt = [wait.prompt for wait in waits if wait.duration_ns]
    return 2 * sum(prompt) >= len(prompt)


def _causes(pieces: Sequence[tuple[str, int]], wait: _Wait, cycle_ns: int) -> dict[str, int]:
    """Shares a gap out among its causes; `pieces` are what the host did in it, in order."""
    named: dict[str, int] = defaultdict(int)
    for activity, duration_ns in pieces:
        named[activity] += duration_ns
    substantial = {
        activity for activity in (host.FETCHING, host.COLLATING) if named[activity] >= SUBSTANTIAL_SHARE * cycle_ns
    }
    hideable_ns = wait.duration_ns
    causes: dict[str, int] = defaultdict(int)
    for activity, duration_ns in pieces:
        hidden_ns = 0
        if activity != host.UNKNOWN and activity not in substantial:
            hidden_ns = min(duration_ns, hideable_ns)
            hideable_ns -= hidden_ns
        if hidden_ns:
            causes[wait.cause] += hidden_ns
        if duration_ns > hidden_ns:
            causes[_CAUSES[activity]] += duration_ns - hidden_ns
    return dict(causes)
