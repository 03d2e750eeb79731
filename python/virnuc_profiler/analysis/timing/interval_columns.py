# SPDX-License-Identifier: MIT
"""Arithmetic of many time intervals at once, given as columns of starts and ends in integer ns. All exact."""

from __future__ import annotations

import numpy as np

from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.telemetry.stage_columns import Column


def union(starts: Column, ends: Column) -> tuple[Column, Column]:
    """Merge intervals into disjoint ones in order of time that do not touch. Empty intervals are dropped.

    Args:
        starts: Starts of the intervals.
        ends: Ends of the intervals.
    """
    whole = starts < ends
    starts, ends = starts[whole], ends[whole]
    if not len(starts):
        return starts, ends
    order = np.argsort(starts)
    starts, reached = starts[order], np.maximum.accumulate(ends[order])
    holes = np.flatnonzero(starts[1:] > reached[:-1])
    return starts[np.append(0, holes + 1)], reached[np.append(holes, len(starts) - 1)]


def length(starts: Column, ends: Column) -> int:
    """Return the time covered by at least one interval, ns.

    Args:
        starts: Starts of the intervals.
        ends: Ends of the intervals.
    """
    starts, ends = union(starts, ends)
    return int((ends - starts).sum())


def clip(starts: Column, ends: Column, window: Interval) -> tuple[Column, Column]:
    """Cut intervals at the ends of a window. Intervals outside of it become empty: they end at or before their start.

    Args:
        starts: Starts of the intervals.
        ends: Ends of the intervals.
        window: Start and end of the window.
    """
    low, high = window
    return np.maximum(starts, low), np.minimum(ends, high)


def length_by_group(starts: Column, ends: Column, group: Column, groups: int) -> Column:
    """Return the time covered by the intervals of each group, ns, as a column of shape (groups,).

    Args:
        starts: Starts of the intervals.
        ends: Ends of the intervals.
        group: Group of each interval, from 0 to `groups` - 1.
        groups: Number of groups.
    """
    total = np.zeros(groups, np.int64)
    if not len(starts):
        return total
    order = np.lexsort((starts, group))
    starts, ends, group = starts[order], ends[order], group[order]
    # Largest end so far within each group, computed on ranks. Times of later groups would have to be offset beyond
    # those of earlier groups, which does not fit into 64 bits; ranks can be.
    times, ranks = np.unique(ends, return_inverse=True)
    base = group * len(times)
    reached = times[np.maximum.accumulate(ranks.reshape(-1) + base) - base]
    same_group = np.append(False, group[1:] == group[:-1])
    before = np.where(same_group, np.append(starts[:1], reached[:-1]), starts)
    np.add.at(total, group, np.maximum(ends - np.maximum(starts, before), 0))
    return total
