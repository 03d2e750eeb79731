# SPDX-License-Identifier: MIT
"""GPU work of each of many ranges, as columns: the figures of `Projection` without its records."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from virnuc_profiler.analysis.nsys.group_work import positions_between
from virnuc_profiler.analysis.nsys.projection import Projections
from virnuc_profiler.analysis.timing.interval_columns import length_by_group
from virnuc_profiler.telemetry.stage_columns import Column

_LAUNCHES_AT_ONCE: Final = 1_000_000
"""Launches of ranges that are in memory at the same time. Those of nested ranges count for each range."""


@dataclass(frozen=True, slots=True, eq=False)
class RangeWork:
    """GPU work of ranges, as columns of shape (ranges,); see :class:`Projection`. All are 0 without operations.

    Attributes:
        operations: Number of operations.
        total_ns: Sum of the operations' durations.
        busy_ns: Time in which at least one operation ran.
        idle_ns: Time within the span in which none of the operations ran.
        longest_gap_ns: Longest part of the idle time.
        launch_delay_ns: Time from the call that launched the first operation to its start.
    """

    operations: Column
    total_ns: Column
    busy_ns: Column
    idle_ns: Column
    longest_gap_ns: Column
    launch_delay_ns: Column


def range_work(projections: Projections, chosen: Column) -> RangeWork:
    """Return the GPU work of some ranges.

    Args:
        projections: Projections of ranges.
        chosen: Positions of the ranges.
    """
    found = np.zeros((6, len(chosen)), np.int64)
    sizes = (projections.last - projections.first)[chosen]
    block = np.cumsum(sizes) // _LAUNCHES_AT_ONCE
    starts = np.append(np.flatnonzero(np.diff(block, prepend=-1)), len(chosen)).tolist()
    for low, high in pairwise(starts):
        found[:, low:high] = _work_at_once(projections, chosen[low:high])
    return RangeWork(*found)


def _work_at_once(projections: Projections, chosen: Column) -> Column:
    launches, count = projections.launches, len(chosen)
    first, last = projections.first[chosen], projections.last[chosen]
    launch = positions_between(first, last)
    owner = np.repeat(np.arange(count), last - first)
    if projections.straddled[chosen].any():
        inside = launches.call_end_ns[launch] <= projections.ranges.end_ns[chosen][owner]
        inside |= ~projections.straddled[chosen][owner]
        launch, owner = launch[inside], owner[inside]
    found = np.zeros((6, count), np.int64)
    if not len(launch):
        return found
    starts = launches.operations.start_ns[launches.operation[launch]]
    ends = launches.operations.end_ns[launches.operation[launch]]
    calls = launches.call_start_ns[launch]
    order = np.lexsort((calls, starts, owner))
    starts, ends, calls, owner = starts[order], ends[order], calls[order], owner[order]
    heads = np.append(0, np.flatnonzero(np.diff(owner)) + 1)
    active = owner[heads]
    found[0] = np.bincount(owner, minlength=count)
    found[1][active] = np.add.reduceat(ends - starts, heads)
    found[2] = length_by_group(starts, ends, owner, count)
    found[3][active] = np.maximum.reduceat(ends, heads) - starts[heads] - found[2][active]
    whole = starts < ends
    found[4] = _longest_gaps(starts[whole], ends[whole], owner[whole], count)
    found[5][active] = starts[heads] - calls[heads]
    return found


def _longest_gaps(starts: Column, ends: Column, owner: Column, count: int) -> Column:
    """Return the longest time between intervals of each owner in which none of them ran.

    Args:
        starts: Starts of the intervals, in ascending order for each owner.
        ends: Ends of the intervals.
        owner: Owner of each interval, in ascending order.
        count: Number of owners.
    """
    longest = np.zeros(count, np.int64)
    if len(starts):
        # Largest end so far of each owner, on ranks: see `length_by_group`.
        times, ranks = np.unique(ends, return_inverse=True)
        base = owner * len(times)
        reached = times[np.maximum.accumulate(ranks.reshape(-1) + base) - base]
        same = owner[1:] == owner[:-1]
        np.maximum.at(longest, owner[1:][same], (starts[1:] - reached[:-1])[same])
    return longest
