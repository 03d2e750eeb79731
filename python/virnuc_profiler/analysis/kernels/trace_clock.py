# SPDX-License-Identifier: MIT
"""The relation of a trace's clock to the monotonic clock, from calls whose times are known on both.

The capture calls ``cudaDeviceSynchronize`` a few times before the batches and after them, and reads the monotonic clock
right before and right after each call. The call that the trace recorded must lie between the two readings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from virnuc_profiler.analysis.kernels.device_trace import DeviceTrace
from virnuc_profiler.telemetry.kernel_records import ANCHOR_CALL, ClockAnchor
from virnuc_profiler.telemetry.stage_columns import Column

_MIN_MATCHED: Final = 2
"""A single call may match any other; two of them at the same distance hardly do."""


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
        anchors: The calls, in order of time; at least one.

    Raises:
        ValueError: There are no anchors.
    """
    if not anchors:
        raise ValueError("the clocks of a trace and of the stages cannot be compared without an anchor")
    matched = _matches(trace, anchors)
    if not matched:
        return _by_time_of_day(anchors)
    half = (matched[0].call_ns + matched[-1].call_ns) / 2
    first = min((one for one in matched if one.call_ns <= half), key=lambda one: one.width_ns)
    last = min((one for one in matched if one.call_ns >= half), key=lambda one: one.width_ns)
    error_ns = (max(first.width_ns, last.width_ns) + 1) // 2
    return TraceClock(first.call_ns, first.offset_ns, last.call_ns, last.offset_ns, error_ns)


def _by_time_of_day(anchors: Sequence[ClockAnchor]) -> TraceClock:
    first, last = anchors[0], anchors[-1]
    return TraceClock(first.wall_ns, first.wall_ns - first.after_ns, last.wall_ns, last.wall_ns - last.after_ns, None)


def _matches(trace: DeviceTrace, anchors: Sequence[ClockAnchor]) -> list[_Match]:
    """Return the calls of the anchors: those that lie between the readings for the offset that fits most anchors."""
    calls = trace.calls.called(ANCHOR_CALL)
    if not len(calls):
        return []
    calls = calls.take(np.argsort(calls.start_ns))
    before = np.array([anchor.before_ns for anchor in anchors])
    after = np.array([anchor.after_ns for anchor in anchors])
    middles = (calls.start_ns + calls.end_ns) // 2
    offsets = (middles[:, None] - ((before + after) // 2)[None, :]).reshape(-1)  # one for each call and anchor
    at = np.searchsorted(middles, before[None, :] + offsets[:, None])  # first call after each anchor's first reading
    there = at < len(middles)
    at = np.where(there, at, 0)
    found = there & (middles[at] <= after[None, :] + offsets[:, None])
    fitting = found.sum(axis=1)
    if fitting.max() < min(_MIN_MATCHED, len(anchors)):
        return []
    time_of_day_ns = anchors[0].wall_ns - anchors[0].after_ns
    candidates = np.flatnonzero(fitting == fitting.max())
    chosen = candidates[np.argmin(np.abs(offsets[candidates] - time_of_day_ns))]
    matches = []
    for number in np.flatnonzero(found[chosen]).tolist():
        place = at[chosen, number]
        start_ns, end_ns = int(calls.start_ns[place]), int(calls.end_ns[place])
        low_ns, high_ns = sorted((end_ns - int(after[number]), start_ns - int(before[number])))
        matches.append(_Match((start_ns + end_ns) // 2, low_ns, high_ns))
    return sorted(matches)
