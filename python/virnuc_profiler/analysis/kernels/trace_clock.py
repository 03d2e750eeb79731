# SPDX-License-Identifier: MIT
"""The relation of a trace's clock to the monotonic clock, from calls whose times are known on both.

The capture calls ``cudaDeviceSynchronize`` a few times before the batches and after them, and reads the monotonic clock
right before and right after each call. The call that the trace recorded must lie between the two readings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from virnuc_profiler.analysis.kernels.device_trace import DeviceTrace, TraceRows
from virnuc_profiler.telemetry.parts.kernel_records import ANCHOR_CALL, ClockAnchor
from virnuc_profiler.telemetry.stage_columns import Column, Mask

_MIN_MATCHED: Final = 2
"""A single call may match any other; two of them at the same distance hardly do."""

_MAX_DRIFT: Final = 1e-3
"""Limit of the clocks' drift, far above that of any clock. Calls that are further off are others in the same pattern.
"""

_CUT_SHORT: Final = (
    "the trace does not reach the end of the captured batches, or the time of day was set meanwhile: CUPTI may have "
    "had too many records, so capture fewer batches"
)


@dataclass(frozen=True, slots=True)
class TraceClock:
    """Conversion of a trace's times to the monotonic clock, linear between two comparisons.

    Attributes:
        first_ns: Time of the first comparison on the trace's clock.
        first_offset_ns: Trace's clock minus monotonic clock at that time.
        last_ns: Time of the last comparison on the trace's clock.
        last_offset_ns: Trace's clock minus monotonic clock at that time.
        error_ns: Half of the wider bracket of the two; None if only the time of day could be compared.
    """

    first_ns: int
    first_offset_ns: int
    last_ns: int
    last_offset_ns: int
    error_ns: int | None

    def monotonic(self, times_ns: Column) -> Column:
        """Return times of the trace on the monotonic clock.

        Args:
            times_ns: Times on the trace's clock.
        """
        length_ns = self.last_ns - self.first_ns
        if length_ns <= 0:
            return times_ns - self.first_offset_ns
        change = (self.last_offset_ns - self.first_offset_ns) / length_ns
        drifted: Column = np.rint((times_ns - self.first_ns) * change).astype(np.int64)
        return times_ns - self.first_offset_ns - drifted


class _Match(NamedTuple):
    call_ns: int
    low_ns: int
    high_ns: int

    @property
    def width_ns(self) -> int:
        return self.high_ns - self.low_ns

    @property
    def offset_ns(self) -> int:
        return (self.low_ns + self.high_ns) // 2


def fit_trace_clock(trace: DeviceTrace, anchors: Sequence[ClockAnchor]) -> TraceClock:
    """Return the relation of the clocks; that of the time of day if the calls cannot be found in the trace.

    Args:
        trace: The trace.
        anchors: The calls, in order of time; at least one. The longest pause between two of them separates those before
            the batches from those after them.

    Raises:
        ValueError: There are no anchors, or the trace ends before the last ones.
    """
    if not anchors:
        raise ValueError("the clocks of a trace and of the stages cannot be compared without an anchor")
    calls = trace.calls.called(ANCHOR_CALL)
    calls = calls.take(np.argsort(calls.start_ns))
    groups = _groups(anchors)
    candidates = [_fitting_offsets(calls, group) for group in groups]
    if len(candidates[0]) and not len(candidates[-1]):
        raise ValueError(_CUT_SHORT)
    if not all(map(len, candidates)):
        return _by_time_of_day(anchors)
    offsets = _closest(candidates, anchors[0].wall_ns - anchors[0].after_ns)
    if abs(offsets[-1] - offsets[0]) > _largest_drift(groups):
        raise ValueError(_CUT_SHORT)
    matches = [_narrowest(calls, group, offset) for group, offset in zip(groups, offsets, strict=True)]
    first, last = matches[0], matches[-1]
    error_ns = (max(first.width_ns, last.width_ns) + 1) // 2
    return TraceClock(first.call_ns, first.offset_ns, last.call_ns, last.offset_ns, error_ns)


def _largest_drift(groups: Sequence[Sequence[ClockAnchor]]) -> float:
    """Return by how much the offsets of the first and the last group can differ: by drift, and by their brackets."""
    brackets = sum(max(anchor.after_ns - anchor.before_ns for anchor in group) for group in groups)
    return brackets + _MAX_DRIFT * (groups[-1][-1].after_ns - groups[0][0].before_ns)


def _by_time_of_day(anchors: Sequence[ClockAnchor]) -> TraceClock:
    first, last = anchors[0], anchors[-1]
    return TraceClock(first.wall_ns, first.wall_ns - first.after_ns, last.wall_ns, last.wall_ns - last.after_ns, None)


def _groups(anchors: Sequence[ClockAnchor]) -> list[Sequence[ClockAnchor]]:
    """Divide anchors at their longest pause: the clocks may drift apart during it, but not within a group."""
    pauses = [later.before_ns - earlier.after_ns for earlier, later in pairwise(anchors)]
    if not pauses:
        return [anchors]
    at = pauses.index(max(pauses)) + 1
    return [anchors[:at], anchors[at:]]


def _calls_inside(calls: TraceRows, anchors: Sequence[ClockAnchor], offsets: Column) -> tuple[Mask, Column]:
    """Return which anchors have a call between their readings for each offset, and the position of that call.

    Args:
        calls: Calls of :data:`ANCHOR_CALL` in order of time, at least one.
        anchors: Anchors of one group.
        offsets: (n,) offsets of the clocks to try.

    Returns:
        Two arrays of shape (n, anchors).
    """
    middles = (calls.start_ns + calls.end_ns) // 2
    before = np.array([anchor.before_ns for anchor in anchors]) + offsets[:, None]
    after = np.array([anchor.after_ns for anchor in anchors]) + offsets[:, None]
    at = np.minimum(np.searchsorted(middles, before), len(middles) - 1)
    inside: Mask = (before <= middles[at]) & (middles[at] <= after)
    return inside, at


def _fitting_offsets(calls: TraceRows, anchors: Sequence[ClockAnchor]) -> Column:
    """Return the offsets for which calls lie between the readings of most anchors; none if fewer than two fit."""
    if not len(calls):
        return np.zeros(0, np.int64)
    centers = np.array([(anchor.before_ns + anchor.after_ns) // 2 for anchor in anchors])
    offsets = (((calls.start_ns + calls.end_ns) // 2)[:, None] - centers[None, :]).reshape(-1)
    count = _calls_inside(calls, anchors, offsets)[0].sum(axis=1)
    most = count.max()
    fitting: Column = offsets[count == most] if most >= min(_MIN_MATCHED, len(anchors)) else offsets[:0]
    return fitting


def _closest(candidates: Sequence[Column], time_of_day_ns: int) -> list[int]:
    """Return one offset of each group, so that they differ least: the clocks drift by far less than a group is away.

    Among equal ones, that closest to the time of day is taken.

    Args:
        candidates: Offsets of each of one or two groups.
        time_of_day_ns: Offset of the time of day.
    """
    first = candidates[0][np.argsort(np.abs(candidates[0] - time_of_day_ns), kind="stable")]
    if len(candidates) == 1:
        return [int(first[0])]
    last = np.sort(candidates[1])
    at = np.searchsorted(last, first)
    pairs = np.stack([last[np.maximum(at - 1, 0)], last[np.minimum(at, len(last) - 1)]])
    apart = np.abs(pairs - first)
    side, place = np.unravel_index(np.argmin(apart), apart.shape)
    return [int(first[place]), int(pairs[side, place])]


def _narrowest(calls: TraceRows, anchors: Sequence[ClockAnchor], offset_ns: int) -> _Match:
    """Return the anchor with the narrowest bracket among those that have a call for this offset."""
    inside, at = _calls_inside(calls, anchors, np.array([offset_ns]))
    matches = []
    for number in np.flatnonzero(inside[0]).tolist():
        anchor, place = anchors[number], at[0, number]
        start_ns, end_ns = int(calls.start_ns[place]), int(calls.end_ns[place])
        low_ns, high_ns = sorted((end_ns - anchor.after_ns, start_ns - anchor.before_ns))
        matches.append(_Match((start_ns + end_ns) // 2, low_ns, high_ns))
    return min(matches, key=lambda one: one.width_ns)
