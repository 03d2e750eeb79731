# SPDX-License-Identifier: MIT
"""The innermost range around the launch of each operation: its GPU time is that range's self time."""

from __future__ import annotations

from typing import Final

import numpy as np

from virnuc_profiler.analysis.nsys.projection import Projections
from virnuc_profiler.telemetry.stage_columns import Column

NO_RANGE: Final = -1
"""Stands for the range of an operation that was launched in none."""


def innermost_ranges(projections: Projections) -> Column:
    """Return the position of the innermost range of each operation, or ``NO_RANGE``.

    The innermost range is the one that began last, of several such the one that ended first, and of equal ones the
    last in the capture. An operation with several launches belongs to the one whose range began last.

    Args:
        projections: Projections of all ranges of a capture.
    """
    ranges, launches = projections.ranges, projections.launches
    order = np.lexsort((-ranges.end_ns, ranges.start_ns))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    whole = (projections.first < projections.last) & ~projections.straddled
    deepest = _largest_rank(projections.first[whole], projections.last[whole], rank[whole], len(launches))
    for at in np.flatnonzero(projections.straddled).tolist():  # few: a call rarely outlasts a range of its thread
        inside = projections.launched(at)
        deepest[inside] = np.maximum(deepest[inside], rank[at])
    of_operation = np.full(len(launches.operations), NO_RANGE)
    np.maximum.at(of_operation, launches.operation, deepest)
    found: Column = np.where(of_operation == NO_RANGE, NO_RANGE, np.append(order, NO_RANGE)[of_operation])
    return found


def _largest_rank(first: Column, last: Column, rank: Column, count: int) -> Column:
    """Return the largest rank of the intervals around each of `count` positions, in O(n log n) however they nest.

    Two blocks of a power of two cover an interval. From the largest blocks down, each block gives what it has to its
    two halves: a sparse table, backwards.
    """
    widths = last - first
    level_of = np.zeros(len(widths), np.int64) if not len(widths) else np.frexp(widths.astype(np.float64))[1] - 1
    best = np.full(count, NO_RANGE)
    for level in range(int(level_of.max(initial=0)), -1, -1):
        chosen = level_of == level
        np.maximum.at(best, first[chosen], rank[chosen])
        np.maximum.at(best, last[chosen] - (1 << level), rank[chosen])
        if level:
            half = 1 << (level - 1)
            given = best[: count - half].copy()
            best[half:] = np.maximum(best[half:], given)
    return best
