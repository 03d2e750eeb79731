# SPDX-License-Identifier: MIT
"""Arithmetic of half-open time intervals [start, end) in integer ns. All exact."""

from __future__ import annotations

from collections.abc import Iterable

Interval = tuple[int, int]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Merge intervals into disjoint ones in order of time that do not touch, in O(n log n). Empty ones are dropped.

    Args:
        intervals: Intervals in any order.
    """
    merged: list[Interval] = []
    for start, end in sorted(interval for interval in intervals if interval[0] < interval[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def length(intervals: Iterable[Interval]) -> int:
    """Return the time covered by at least one interval, ns.

    Args:
        intervals: Intervals in any order.
    """
    return sum(end - start for start, end in union(intervals))


def clip(intervals: Iterable[Interval], window: Interval) -> list[Interval]:
    """Cut intervals at the ends of a window. Intervals outside of it are dropped.

    Args:
        intervals: Intervals in any order.
        window: Start and end of the window.
    """
    low, high = window
    pieces = ((max(start, low), min(end, high)) for start, end in intervals)
    return [(start, end) for start, end in pieces if start < end]


def overlap(first: Iterable[Interval], second: Iterable[Interval]) -> int:
    """Return the time covered by both sets of intervals, ns.

    Args:
        first: Intervals in any order.
        second: Intervals in any order.
    """
    left, right = union(first), union(second)
    total = position = 0
    for start, end in left:
        while position < len(right) and right[position][1] <= start:
            position += 1
        at = position
        while at < len(right) and right[at][0] < end:
            total += min(end, right[at][1]) - max(start, right[at][0])
            at += 1
    return total


def difference(first: Iterable[Interval], second: Iterable[Interval]) -> int:
    """Return the length of the time covered by `first` and not by `second`, ns.

    Args:
        first: Intervals in any order.
        second: Intervals in any order.
    """
    kept = union(first)
    return length(kept) - overlap(kept, second)
