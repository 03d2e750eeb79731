# SPDX-License-Identifier: MIT
"""``intervals`` for as many as a long run has: starts and ends are columns of integer ns. All exact."""

from __future__ import annotations

import numpy as np

from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.telemetry.stage_columns import Column


def union(starts: Column, ends: Column) -> tuple[Column, Column]:
    """The same points as disjoint intervals in order, none touching the next; empty ones are left out."""
    whole = starts < ends
    starts, ends = starts[whole], ends[whole]
    if not len(starts):
        return starts, ends
    order = np.argsort(starts)
    starts, reached = starts[order], np.maximum.accumulate(ends[order])
    holes = np.flatnonzero(starts[1:] > reached[:-1])
    return starts[np.append(0, holes + 1)], reached[np.append(holes, len(starts) - 1)]


def length(starts: Column, ends: Column) -> int:
    """Time covered by at least one interval, ns."""
    starts, ends = union(starts, ends)
    return int((ends - starts).sum())


def clip(starts: Column, ends: Column, window: Interval) -> tuple[Column, Column]:
    """What lies inside `window`; pieces outside are empty, with their end before or at their start."""
    low, high = window
    return np.maximum(starts, low), np.minimum(ends, high)


def length_by_group(starts: Column, ends: Column, group: Column, groups: int) -> Column:
    """:func:`length` of the intervals of each group, (groups,).

    Args:
        starts: of the intervals.
        ends: of the intervals.
        group: the number of the group that an interval belongs to, from 0 to `groups` - 1.
        groups: how many there are.
    """
    total = np.zeros(groups, np.int64)
    if not len(starts):
        return total
    order = np.lexsort((starts, group))
    starts, ends, group = starts[order], ends[order], group[order]
    # How far a group's intervals have reached so far. By ranks, since times of different groups would not fit into
    # 64 bits together: a later group's ranks are all above those of the groups before it.
    times, ranks = np.unique(ends, return_inverse=True)
    base = group * len(times)
    reached = times[np.maximum.accumulate(ranks.reshape(-1) + base) - base]
    same_group = np.append(False, group[1:] == group[:-1])
    before = np.where(same_group, np.append(starts[:1], reached[:-1]), starts)
    np.add.at(total, group, np.maximum(ends - np.maximum(starts, before), 0))
    return total
