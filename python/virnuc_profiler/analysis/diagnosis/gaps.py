# SPDX-License-Identifier: MIT
"""The gaps between the device's intervals, and what each is due to.

A gap is due to what the host did in it, unless the host was **waiting for the device** when the gap began. Then the
device has run dry because nothing was queued behind what it was doing, and the host could have used its wait to do
what it now does in the gap. So of such a gap as much as the host had waited is due to the wait (synchronizing, or
copying if it waited inside a copy), and the rest to what the host did. Fetching and collating that take a substantial
share of the cycle are named for themselves all the same: a loader that is behind is behind, whether asked early or
late.

Where the next stage had been queued before the gap began, the host has nothing to do with it. The device takes some
microseconds from one to the next all the same, which is the price of launching.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
from virnuc_profiler.telemetry.records import BatchRecord
from virnuc_profiler.telemetry.stage_columns import Column, Mask, StageColumns

WAKE_UP_NS: Final = 500_000
"""A host that waited for the device goes on within this time: an event that sleeps takes some 50 µs to wake it, ten
times that on a loaded machine. A consumer that merely ends at that moment by chance is rarely so close."""

SUBSTANTIAL_SHARE: Final = 0.05
"""Fetching or collating counts for itself from this share of the cycle (the work before a gap, and the gap) on; it is
where the loader stops being ``full``, see ``batch_metrics.FULL_BELOW``. Below, it is the price of asking."""

SEAM_NS: Final = 10_000
"""So long the device may take from the end of a stage to the start of the next that is queued: some 2 µs between two
replays on an H200 (650M). Others on the device take milliseconds."""

_CAUSES: Final[Mapping[str, str]] = {
    host.FETCHING: DATA_LOADING,
    host.COLLATING: COLLATION,
    host.LAUNCHING: LAUNCHING,
    host.CONSUMING: CONSUMING,
    host.OWN_STAGE: OTHER_HOST_WORK,
    host.UNSTAGED: OTHER_HOST_WORK,
    host.UNKNOWN: NOT_MEASURED,
}
_NAMES: Final = tuple(dict.fromkeys((SYNCHRONIZING, COPYING, QUEUED, *_CAUSES.values())))
_CAUSE_OF: Final = np.array([_NAMES.index(_CAUSES[activity]) for activity in host.ACTIVITIES])


def _activities(*names: str) -> Mask:
    """(activities,) True for those of these names."""
    return np.isin(host.ACTIVITIES, names)


_MAY_BE_A_WAIT: Final = _activities(host.UNSTAGED, host.CONSUMING, host.OWN_STAGE)
_LOADING: Final = _activities(host.FETCHING, host.COLLATING)
_UNKNOWN: Final = _activities(host.UNKNOWN)


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

    def within(self, window: Interval) -> Gap:
        """The part inside a window that it reaches into."""
        start_ns, end_ns = max(self.start_ns, window[0]), min(self.end_ns, window[1])
        if (start_ns, end_ns) == (self.start_ns, self.end_ns):
            return self
        causes: dict[str, int] = {}
        before = 0
        for cause, duration_ns in self.causes.items():  # by the sums so far, so that no ns is lost by rounding
            upto = before + duration_ns
            share_ns = [total * (end_ns - start_ns) // self.duration_ns for total in (before, upto)]
            causes[cause] = share_ns[1] - share_ns[0]
            before = upto
        return Gap(start_ns, end_ns, {cause: duration_ns for cause, duration_ns in causes.items() if duration_ns})


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
        """From the window's start to the first device interval, what lies in a gap left out."""
        if not self.busy:
            return 0
        in_gap = self.gaps[0].duration_ns if self.gaps and self.gaps[0].end_ns <= self.busy[0][0] else 0
        return self.busy[0][0] - self.window[0] - in_gap

    @property
    def tail_ns(self) -> int:
        """From the last device interval to the window's end, what lies in a gap left out."""
        if not self.busy:
            return 0
        in_gap = self.gaps[-1].duration_ns if self.gaps and self.gaps[-1].start_ns >= self.busy[-1][1] else 0
        return self.window[1] - self.busy[-1][1] - in_gap

    def within(self, window: Interval) -> DeviceGaps:
        """The part inside a window. Of a gap that reaches beyond, each cause counts with the same share."""
        inside = [gap.within(window) for gap in self.gaps if gap.start_ns < window[1] and gap.end_ns > window[0]]
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
    batches: Iterable[BatchRecord], window: Interval, timeline: HostTimeline, clock_slack_ns: int = 0
) -> DeviceGaps:
    """The gaps of a run.

    Args:
        batches: with device times.
        window: the run.
        timeline: what the host did in that window.
        clock_slack_ns: how far device times may be off on the host's axis.
    """
    stages = BatchTable.from_records(batches).stages()
    stages = stages[stages.on_device]
    on_device = interval_columns.clip(stages.device_start_ns, stages.device_end_ns, window)
    busy_starts, busy_ends = interval_columns.union(*on_device)
    if not len(busy_starts):
        return DeviceGaps(window)
    starts, ends = busy_ends[:-1], busy_starts[1:]
    queued = _first_from(stages, ends).host_start_ns < starts - clock_slack_ns
    waits = _waits_before(starts, _last_until(stages, starts), timeline, clock_slack_ns)
    usual = _waits_usually(waits, ~queued)
    waits = waits._replace(duration_ns=np.where(waits.prompt | usual, waits.duration_ns, 0))
    causes = _causes(timeline.during(starts, ends), waits, ends - busy_starts[:-1])
    causes[queued] = 0
    whose = np.where(ends - starts <= SEAM_NS, _NAMES.index(LAUNCHING), _NAMES.index(QUEUED))
    causes[queued, whose[queued]] = (ends - starts)[queued]
    gaps = [
        Gap(start, end, {name: duration_ns for name, duration_ns in zip(_NAMES, row, strict=True) if duration_ns})
        for start, end, row in zip(starts.tolist(), ends.tolist(), causes.tolist(), strict=True)
    ]
    return DeviceGaps(window, list(zip(busy_starts.tolist(), busy_ends.tolist(), strict=True)), gaps)


def _last_until(stages: StageColumns, moments_ns: Column) -> StageColumns:
    """For each moment the stage at whose device end it lies; of several the last."""
    order = np.argsort(stages.device_end_ns, kind="stable")
    return stages[order[np.searchsorted(stages.device_end_ns[order], moments_ns, side="right") - 1]]


def _first_from(stages: StageColumns, moments_ns: Column) -> StageColumns:
    """For each moment the stage at whose device start it lies; of several the first."""
    order = np.argsort(stages.device_start_ns, kind="stable")
    return stages[order[np.searchsorted(stages.device_start_ns[order], moments_ns, side="left")]]


class _Waits(NamedTuple):
    """How the host waited for the device when it ran dry, (gaps,) each.

    Attributes:
        cause: number of its name; it has no meaning without a duration.
        duration_ns: for how long; 0 where it did not wait.
        prompt: whether it went on promptly.
    """

    cause: Column
    duration_ns: Column
    prompt: Mask


def _waits_before(gap_starts: Column, last: StageColumns, timeline: HostTimeline, clock_slack_ns: int) -> _Waits:
    """How the host waited, or may have waited, when the device had done its last stage."""
    held = blocked_ns(last, clock_slack_ns)
    launching = gap_starts - last.host_end_ns <= PROMPT_NS + clock_slack_ns  # the host was launching until then
    segment = timeline.at(gap_starts - clock_slack_ns)
    may_wait = (segment >= 0) & _MAY_BE_A_WAIT[timeline.activities[segment]] & ~launching
    waited = np.maximum(gap_starts - np.maximum(timeline.bounds[segment], last.host_end_ns), 0)
    goes_on = timeline.bounds[segment + 1]
    cause = np.where((held > 0) & last.named(COPY_STAGES), _NAMES.index(COPYING), _NAMES.index(SYNCHRONIZING))
    return _Waits(
        cause=cause,
        duration_ns=np.where(held > 0, held, np.where(may_wait, waited, 0)),
        prompt=(held > 0) | (goes_on <= gap_starts + WAKE_UP_NS),
    )


def _waits_usually(waits: _Waits, counted: Mask) -> bool:
    """Whether the loop waits for the device at that place as a rule; then going on late is waking up late."""
    prompt = waits.prompt[counted & (waits.duration_ns > 0)]
    return bool(2 * prompt.sum() >= len(prompt))


def _causes(pieces: tuple[Column, Column, Column], waits: _Waits, cycles_ns: Column) -> Column:
    """Shares gaps out among their causes.

    Args:
        pieces: what the host did in the gaps, in order: gap, activity and duration.
        waits: before the gaps.
        cycles_ns: the gaps, with the work before them.

    Returns:
        (gaps, names) ns.
    """
    gap, activity, duration_ns = pieces
    spent = np.zeros((len(cycles_ns), len(host.ACTIVITIES)), np.int64)
    np.add.at(spent, (gap, activity), duration_ns)
    substantial = _LOADING & (spent >= SUBSTANTIAL_SHARE * cycles_ns[:, None])
    hideable = ~_UNKNOWN[activity] & ~substantial[gap, activity]
    # A wait hides the first of what can be hidden, up to its own length.
    until = np.cumsum(np.where(hideable, duration_ns, 0))
    before = until - np.where(hideable, duration_ns, 0)
    before_in_gap = before - before[np.searchsorted(gap, gap)]
    hidden = np.where(hideable, np.clip(waits.duration_ns[gap] - before_in_gap, 0, duration_ns), 0)
    causes = np.zeros((len(cycles_ns), len(_NAMES)), np.int64)
    np.add.at(causes, (gap, waits.cause[gap]), hidden)
    np.add.at(causes, (gap, _CAUSE_OF[activity]), duration_ns - hidden)
    return causes
