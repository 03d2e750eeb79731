# SPDX-License-Identifier: MIT
"""Gaps between the device's intervals, and their causes.

The cause of a gap is what the host did during it, unless the host was **waiting for the device** when the gap began.
In that case nothing was queued behind the running work, and the host could have used its wait for what it did in the
gap. The gap is then attributed to the wait (synchronizing, or copying if the host waited inside a copy) up to the
length of the wait, and the rest to what the host did. Fetching and collating that take a substantial share of the
cycle are still attributed to themselves: a slow loader is slow whether it is asked early or late.

If the next stage was queued before the gap began, the host did not cause the gap. The few microseconds that the device
always takes from one stage to the next count as launching.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from virnuc_profiler.analysis.diagnosis import host_activity as host
from virnuc_profiler.analysis.diagnosis.bottlenecks import (
    COLLATION,
    CONSUMING,
    COPYING,
    DATA_LOADING,
    LAUNCHING,
    NOT_MEASURED,
    OTHER_HOST_WORK,
    QUEUED,
    SYNCHRONIZING,
)
from virnuc_profiler.analysis.diagnosis.host_activity import HostTimeline
from virnuc_profiler.analysis.diagnosis.launches import COPY_STAGES, PROMPT_NS, blocked_ns
from virnuc_profiler.analysis.timing import interval_columns
from virnuc_profiler.analysis.timing.intervals import Interval, clip
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.stage_columns import Column, Mask, StageColumns

WAKE_UP_NS: Final = 500_000
"""A host that waited for the device continues within this time. A blocking event takes some 50 µs to wake the host, ten
times that on a loaded machine. A consumer that ends at that moment by coincidence is rarely so close."""

SUBSTANTIAL_SHARE: Final = 0.05
"""Share of the cycle (the work before a gap, and the gap) from which fetching or collating is a cause of its own; the
same limit as ``batch_metrics.FULL_BELOW``. A smaller share is the overhead of each request."""

SEAM_NS: Final = 10_000
"""Longest time that the device itself takes from the end of a stage to the start of the next queued one; some 2 µs
between two graph replays on an H200 (650M). Other users of the device take milliseconds."""

_CAUSES: Final[Mapping[str, str]] = {
    host.FETCHING: DATA_LOADING,
    host.COLLATING: COLLATION,
    host.LAUNCHING: LAUNCHING,
    host.CONSUMING: CONSUMING,
    host.OWN_STAGE: OTHER_HOST_WORK,
    host.UNSTAGED: OTHER_HOST_WORK,
    host.UNKNOWN: NOT_MEASURED,
}
GAP_CAUSES: Final = tuple(dict.fromkeys((SYNCHRONIZING, COPYING, QUEUED, *_CAUSES.values())))
"""All causes of gaps."""

_CAUSE_OF: Final = np.array([GAP_CAUSES.index(_CAUSES[activity]) for activity in host.ACTIVITIES])


def _activities(*names: str) -> Mask:
    """Return a mask of shape (activities,) of some activities."""
    return np.isin(host.ACTIVITIES, names)


_MAY_BE_A_WAIT: Final = _activities(host.UNSTAGED, host.CONSUMING, host.OWN_STAGE)
_LOADING: Final = _activities(host.FETCHING, host.COLLATING)
_UNKNOWN: Final = _activities(host.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Gap:
    """Time in which the device was idle.

    Attributes:
        start_ns: Start on the host's clock.
        end_ns: End on the host's clock.
        causes: Durations in ns by cause, which add up to the gap exactly.
    """

    start_ns: int
    end_ns: int
    causes: Mapping[str, int]

    @property
    def duration_ns(self) -> int:
        """Duration of the gap."""
        return self.end_ns - self.start_ns

    def within(self, window: Interval) -> Gap:
        """Return the part of the gap inside a window; each cause keeps its share.

        Args:
            window: Start and end of a window that overlaps the gap, ns.
        """
        start_ns, end_ns = max(self.start_ns, window[0]), min(self.end_ns, window[1])
        if (start_ns, end_ns) == (self.start_ns, self.end_ns):
            return self
        causes: dict[str, int] = {}
        before = 0
        for cause, duration_ns in self.causes.items():  # cumulative sums, so that rounding loses nothing
            upto = before + duration_ns
            share_ns = [total * (end_ns - start_ns) // self.duration_ns for total in (before, upto)]
            causes[cause] = share_ns[1] - share_ns[0]
            before = upto
        return Gap(start_ns, end_ns, {cause: duration_ns for cause, duration_ns in causes.items() if duration_ns})


@dataclass(frozen=True, slots=True)
class CauseTotal:
    """Total of the gaps, or parts of gaps, with one cause.

    Attributes:
        cause: Name of the cause.
        gaps: Number of gaps with this cause.
        total_ns: Total duration.
    """

    cause: str
    gaps: int
    total_ns: int


@dataclass(frozen=True)
class DeviceGaps:
    """Intervals of the device in its stages, and the gaps between them, in a window.

    The window consists of these intervals, the gaps, the lead-in and the tail. Without device times nothing is known:
    ``in_stages`` is empty, and the other parts are 0.

    Attributes:
        window: Start and end of the window on the host's clock, ns.
        in_stages: Disjoint intervals in order of time in which the device was in a stage. It was busy for at most
            these: a stage can include waits for launches.
        gaps: Gaps in order of time.
    """

    window: Interval
    in_stages: Sequence[Interval] = ()
    gaps: Sequence[Gap] = ()

    @property
    def in_stages_ns(self) -> int:
        """Time in which the device was in a stage, waits for launches inside stages included."""
        return sum(end - start for start, end in self.in_stages)

    @property
    def lead_in_ns(self) -> int:
        """Time from the window's start to the first stage, except for gaps."""
        if not self.in_stages:
            return 0
        in_gap = self.gaps[0].duration_ns if self.gaps and self.gaps[0].end_ns <= self.in_stages[0][0] else 0
        return self.in_stages[0][0] - self.window[0] - in_gap

    @property
    def tail_ns(self) -> int:
        """Time from the last stage to the window's end, except for gaps."""
        if not self.in_stages:
            return 0
        in_gap = self.gaps[-1].duration_ns if self.gaps and self.gaps[-1].start_ns >= self.in_stages[-1][1] else 0
        return self.window[1] - self.in_stages[-1][1] - in_gap

    def within(self, window: Interval) -> DeviceGaps:
        """Return the part inside another window. Gaps that extend beyond it are cut.

        Args:
            window: Start and end of the window on the host's clock, ns. An empty window has no parts.
        """
        if not self.in_stages or window[0] >= window[1]:
            return DeviceGaps(window)
        inside = [gap.within(window) for gap in self.gaps if gap.start_ns < window[1] and gap.end_ns > window[0]]
        return DeviceGaps(window, clip(self.in_stages, window), inside)

    def totals(self) -> list[CauseTotal]:
        """Return the totals by cause, the largest first."""
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


class GapColumns(NamedTuple):
    """The gaps of a run as columns. The first two have the shape (intervals,), the others (intervals - 1, ...).

    Attributes:
        staged_starts: Starts of the disjoint intervals in which the device was in a stage, ns.
        staged_ends: Ends of these intervals, ns. Each but the last is the start of a gap.
        causes: Durations of each gap by cause, ns, in the order of ``GAP_CAUSES``; each row adds up to its gap.
    """

    staged_starts: Column
    staged_ends: Column
    causes: Column


def device_gaps(batches: BatchTable, window: Interval, timeline: HostTimeline, clock_slack_ns: int = 0) -> DeviceGaps:
    """Find the gaps of a run and attribute them to their causes.

    Args:
        batches: Batches of the run.
        window: Start and end of the run on the host's clock, ns.
        timeline: Activity of the host during the run.
        clock_slack_ns: Tolerance between device and host times.
    """
    staged_starts, staged_ends, causes = gap_columns(batches, window, timeline, clock_slack_ns)
    if not len(staged_starts):
        return DeviceGaps(window)
    gaps = [
        Gap(start, end, {name: duration_ns for name, duration_ns in zip(GAP_CAUSES, row, strict=True) if duration_ns})
        for start, end, row in zip(staged_ends[:-1].tolist(), staged_starts[1:].tolist(), causes.tolist(), strict=True)
    ]
    return DeviceGaps(window, list(zip(staged_starts.tolist(), staged_ends.tolist(), strict=True)), gaps)


def gap_columns(batches: BatchTable, window: Interval, timeline: HostTimeline, clock_slack_ns: int = 0) -> GapColumns:
    """Find the gaps of a run and their causes, for runs of which a record for each gap would fill the memory.

    Args:
        batches: Batches of the run.
        window: Start and end of the run on the host's clock, ns.
        timeline: Activity of the host during the run.
        clock_slack_ns: Tolerance between device and host times.
    """
    stages = batches.device_stages
    on_device = interval_columns.clip(stages.device_start_ns, stages.device_end_ns, window)
    staged_starts, staged_ends = interval_columns.union(*on_device)
    if not len(staged_starts):
        return GapColumns(staged_starts, staged_ends, np.zeros((0, len(GAP_CAUSES)), np.int64))
    starts, ends = staged_ends[:-1], staged_starts[1:]
    queued = _first_from(stages, ends).host_start_ns < starts - clock_slack_ns
    waits = _waits_before(starts, _last_until(stages, starts), timeline, clock_slack_ns)
    regular = _waits_regularly(waits, ~queued)
    waits = waits._replace(duration_ns=np.where(waits.prompt | regular, waits.duration_ns, 0))
    causes = _causes(timeline.during(starts, ends), waits, ends - _work_starts(staged_starts, staged_ends))
    causes[queued] = 0
    queued_cause = np.where(ends - starts <= SEAM_NS, GAP_CAUSES.index(LAUNCHING), GAP_CAUSES.index(QUEUED))
    causes[queued, queued_cause[queued]] = (ends - starts)[queued]
    return GapColumns(staged_starts, staged_ends, causes)


def _work_starts(staged_starts: Column, staged_ends: Column) -> Column:
    """Return, for each gap, the start of the work before it, which seams do not divide."""
    begins = np.concatenate(([True], staged_starts[1:-1] - staged_ends[:-2] > SEAM_NS))
    return staged_starts[np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0))]


def _last_until(stages: StageColumns, moments_ns: Column) -> StageColumns:
    """Return, for each time, the last stage whose device end it is."""
    order = np.argsort(stages.device_end_ns, kind="stable")
    return stages[order[np.searchsorted(stages.device_end_ns[order], moments_ns, side="right") - 1]]


def _first_from(stages: StageColumns, moments_ns: Column) -> StageColumns:
    """Return, for each time, the first stage whose device start it is."""
    order = np.argsort(stages.device_start_ns, kind="stable")
    return stages[order[np.searchsorted(stages.device_start_ns[order], moments_ns, side="left")]]


class _Waits(NamedTuple):
    """Waits of the host for the device at the beginning of each gap. All columns have the shape (gaps,).

    Attributes:
        cause: Number of the cause; meaningless if the duration is 0.
        duration_ns: Duration of the wait; 0 if the host did not wait.
        prompt: Whether the host continued promptly after the wait.
    """

    cause: Column
    duration_ns: Column
    prompt: Mask


def _waits_before(gap_starts: Column, last: StageColumns, timeline: HostTimeline, clock_slack_ns: int) -> _Waits:
    """Return how the host waited, or may have waited, when the device completed its last stage."""
    blocked = blocked_ns(last, clock_slack_ns)
    launching = gap_starts - last.host_end_ns <= PROMPT_NS + clock_slack_ns  # the host was still launching
    segment = timeline.at(gap_starts - clock_slack_ns)
    may_wait = (segment >= 0) & _MAY_BE_A_WAIT[timeline.activities[segment]] & ~launching
    waited = np.maximum(gap_starts - np.maximum(timeline.bounds[segment], last.host_end_ns), 0)
    continues = timeline.bounds[segment + 1]
    cause = np.where(
        (blocked > 0) & last.named(COPY_STAGES), GAP_CAUSES.index(COPYING), GAP_CAUSES.index(SYNCHRONIZING)
    )
    return _Waits(
        cause=cause,
        duration_ns=np.where(blocked > 0, blocked, np.where(may_wait, waited, 0)),
        prompt=(blocked > 0) | (continues <= gap_starts + WAKE_UP_NS),
    )


def _waits_regularly(waits: _Waits, counted: Mask) -> bool:
    """Whether the loop regularly waits for the device there; if so, a host that continues late woke up late."""
    prompt = waits.prompt[counted & (waits.duration_ns > 0)]
    return bool(2 * prompt.sum() >= len(prompt))


def _causes(pieces: tuple[Column, Column, Column], waits: _Waits, cycles_ns: Column) -> Column:
    """Attribute gaps to their causes.

    Args:
        pieces: Activities of the host in the gaps, in order: columns of gap, activity and duration.
        waits: Waits at the beginning of the gaps.
        cycles_ns: Duration of each gap and the work before it.

    Returns:
        Array of shape (gaps, names) with durations in ns.
    """
    gap, activity, duration_ns = pieces
    spent = np.zeros((len(cycles_ns), len(host.ACTIVITIES)), np.int64)
    np.add.at(spent, (gap, activity), duration_ns)
    substantial = _LOADING & (spent >= SUBSTANTIAL_SHARE * cycles_ns[:, None])
    replaceable = ~_UNKNOWN[activity] & ~substantial[gap, activity]
    # The wait replaces the first activities in the gap, up to its own length.
    until = np.cumsum(np.where(replaceable, duration_ns, 0))
    before = until - np.where(replaceable, duration_ns, 0)
    before_in_gap = before - before[np.searchsorted(gap, gap)]
    replaced = np.where(replaceable, np.clip(waits.duration_ns[gap] - before_in_gap, 0, duration_ns), 0)
    causes = np.zeros((len(cycles_ns), len(GAP_CAUSES)), np.int64)
    np.add.at(causes, (gap, waits.cause[gap]), replaced)
    np.add.at(causes, (gap, _CAUSE_OF[activity]), duration_ns - replaced)
    return causes
