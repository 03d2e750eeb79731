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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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
from virnuc_profiler.analysis.timing.intervals import Interval
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


class GapParts(NamedTuple):
    """Gaps in order of time, and the parts that each has by cause. The first two columns have the shape (gaps,).

    Attributes:
        start_ns: Starts on the host's clock.
        end_ns: Ends on the host's clock.
        gap: Position of the gap that each part belongs to, of shape (parts,); never decreases.
        cause: Number of the cause of each part in ``GAP_CAUSES``; distinct within a gap.
        cause_ns: Duration of each part, not 0; the parts of a gap add up to it.
    """

    start_ns: Column
    end_ns: Column
    gap: Column
    cause: Column
    cause_ns: Column

    def has_cause(self, *causes: str) -> Mask:
        """Return a mask of the gaps that have one of some causes.

        Args:
            causes: Causes to look for.
        """
        found = np.zeros(len(self.start_ns), np.bool_)
        found[self.gap[np.isin(self.cause, [GAP_CAUSES.index(cause) for cause in causes])]] = True
        return found

    def spent_on(self, cause: str) -> Column:
        """Return the duration of each gap's part with a cause, ns; 0 without it.

        Args:
            cause: Cause to look for.
        """
        spent = np.zeros(len(self.start_ns), np.int64)
        mine = self.cause == GAP_CAUSES.index(cause)
        spent[self.gap[mine]] = self.cause_ns[mine]
        return spent


_NOTHING: Final = np.zeros(0, np.int64)
_NO_PARTS: Final = GapParts(_NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING)


@dataclass(frozen=True, eq=False)
class DeviceGaps:
    """Intervals of the device in its stages, and the gaps between them, in a window.

    The window consists of these intervals, the gaps, the lead-in and the tail. Without device times nothing is known:
    there are no intervals, and the other parts are 0.

    Attributes:
        window: Start and end of the window on the host's clock, ns.
        staged_starts: Starts of the disjoint intervals in order of time in which the device was in a stage. It was busy
            for at most these: a stage can include waits for launches.
        staged_ends: Ends of these intervals.
        parts: The gaps with their causes.
    """

    window: Interval
    staged_starts: Column = field(default_factory=lambda: _NOTHING)
    staged_ends: Column = field(default_factory=lambda: _NOTHING)
    parts: GapParts = _NO_PARTS

    @cached_property
    def in_stages(self) -> Sequence[Interval]:
        """The intervals as pairs; a run of a million batches has two million."""
        return tuple(zip(self.staged_starts.tolist(), self.staged_ends.tolist(), strict=True))

    @cached_property
    def gaps(self) -> Sequence[Gap]:
        """The gaps as records; a run of a million batches has two million."""
        causes: list[dict[str, int]] = [{} for _ in self.parts.start_ns]
        rows = zip(self.parts.gap.tolist(), self.parts.cause.tolist(), self.parts.cause_ns.tolist(), strict=True)
        for gap, cause, duration_ns in rows:
            causes[gap][GAP_CAUSES[cause]] = duration_ns
        return tuple(map(Gap, self.parts.start_ns.tolist(), self.parts.end_ns.tolist(), causes))

    @property
    def known(self) -> bool:
        """Whether there are device times."""
        return len(self.staged_starts) > 0

    @property
    def in_stages_ns(self) -> int:
        """Time in which the device was in a stage, waits for launches inside stages included."""
        return int((self.staged_ends - self.staged_starts).sum())

    @property
    def lead_in_ns(self) -> int:
        """Time from the window's start to the first stage, except for gaps."""
        if not self.known:
            return 0
        first, parts = int(self.staged_starts[0]), self.parts
        in_gap = parts.end_ns[:1] - parts.start_ns[:1] if np.any(parts.end_ns[:1] <= first) else _NOTHING
        return first - self.window[0] - int(in_gap.sum())

    @property
    def tail_ns(self) -> int:
        """Time from the last stage to the window's end, except for gaps."""
        if not self.known:
            return 0
        last, parts = int(self.staged_ends[-1]), self.parts
        in_gap = parts.end_ns[-1:] - parts.start_ns[-1:] if np.any(parts.start_ns[-1:] >= last) else _NOTHING
        return self.window[1] - last - int(in_gap.sum())

    def within(self, window: Interval) -> DeviceGaps:
        """Return the part inside another window. Gaps that extend beyond it are cut.

        Args:
            window: Start and end of the window on the host's clock, ns. An empty window has no parts.
        """
        if not self.known or window[0] >= window[1]:
            return DeviceGaps(window)
        starts, ends = interval_columns.clip(self.staged_starts, self.staged_ends, window)
        whole = starts < ends
        return DeviceGaps(window, starts[whole], ends[whole], _parts_within(self.parts, window))

    def totals(self) -> list[CauseTotal]:
        """Return the totals by cause, the largest first."""
        total = np.zeros(len(GAP_CAUSES), np.int64)
        np.add.at(total, self.parts.cause, self.parts.cause_ns)
        count = np.bincount(self.parts.cause, minlength=len(GAP_CAUSES))
        lines = (
            CauseTotal(cause, int(gaps), int(total_ns))
            for cause, gaps, total_ns in zip(GAP_CAUSES, count, total, strict=True)
            if gaps
        )
        return sorted(lines, key=lambda line: (-line.total_ns, line.cause))


def _parts_within(parts: GapParts, window: Interval) -> GapParts:
    """Return the gaps inside a window. Each cause of a gap that is cut keeps its share of it."""
    first = int(np.searchsorted(parts.end_ns, window[0], side="right"))
    last = max(int(np.searchsorted(parts.start_ns, window[1])), first)
    low, high = np.searchsorted(parts.gap, (first, last))
    old_ns = (parts.end_ns - parts.start_ns)[first:last]
    starts, ends = interval_columns.clip(parts.start_ns[first:last], parts.end_ns[first:last], window)
    gap, cause_ns = parts.gap[low:high] - first, parts.cause_ns[low:high].copy()
    for place in np.flatnonzero(ends - starts < old_ns).tolist():  # the first and the last gap at most
        mine = np.flatnonzero(gap == place)
        upto = [0, *np.cumsum(cause_ns[mine]).tolist()]  # cumulative sums, so that rounding loses nothing
        shares = [total * int(ends[place] - starts[place]) // int(old_ns[place]) for total in upto]
        cause_ns[mine] = np.diff(shares)
    there = cause_ns > 0
    return GapParts(starts, ends, gap[there], parts.cause[low:high][there], cause_ns[there])


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
    gap, cause = np.nonzero(causes)
    parts = GapParts(staged_ends[:-1], staged_starts[1:], gap, cause, causes[gap, cause])
    return DeviceGaps(window, staged_starts, staged_ends, parts)


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
