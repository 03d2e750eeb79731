# SPDX-License-Identifier: MIT
"""Reduction of a run's intervals and values to buckets of time, such as the pixels of a chart.

Nothing is sampled or left out: the buckets hold exactly the time that the intervals cover, and the least and the
largest value that fell into each of them. All times are integer ns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.timing import interval_columns
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.telemetry.stage_columns import Column

Values = NDArray[np.float64]


def bucket_edges(window: Interval, buckets: int) -> Column:
    """Return the edges of buckets of equal length, to the ns, as a column of shape (buckets + 1,).

    A window of fewer ns than buckets gets one bucket for each ns, and an empty one gets a single empty bucket.

    Args:
        window: Start and end of the window, ns.
        buckets: Number of buckets, at least 1.
    """
    length = max(window[1] - window[0], 0)
    count = max(min(buckets, length), 1)
    whole, rest = divmod(length, count)
    numbers = np.arange(count + 1, dtype=np.int64)
    return window[0] + whole * numbers + rest * numbers // count  # length * numbers may exceed 64 bits


class Pieces(NamedTuple):
    """Intervals cut at the edges of buckets. All columns have the shape (pieces,).

    Attributes:
        row: Position of the interval that each piece is a part of; never decreases.
        bucket: Number of the bucket that each piece lies in.
        start_ns: Start of the piece.
        end_ns: End of the piece.
    """

    row: Column
    bucket: Column
    start_ns: Column
    end_ns: Column


def cut_at_edges(starts: Column, ends: Column, edges: Column) -> Pieces:
    """Cut intervals at the edges of buckets. What lies outside of all buckets is dropped.

    Args:
        starts: Starts of the intervals, ns.
        ends: Ends of the intervals, ns.
        edges: Edges of the buckets, ascending.
    """
    low, high = interval_columns.clip(starts, ends, (int(edges[0]), int(edges[-1])))
    inside = np.flatnonzero(low < high)
    low, high = low[inside], high[inside]
    first = np.searchsorted(edges, low, side="right") - 1
    counts = np.searchsorted(edges, high, side="left") - first
    row = np.repeat(np.arange(len(inside)), counts)
    bucket = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    return Pieces(inside[row], bucket, np.maximum(low[row], edges[bucket]), np.minimum(high[row], edges[bucket + 1]))


def covered_ns(starts: Column, ends: Column, edges: Column) -> Column:
    """Return the time of each bucket that at least one interval covers, ns, as a column of shape (buckets,).

    Args:
        starts: Starts of the intervals, ns.
        ends: Ends of the intervals, ns.
        edges: Edges of the buckets, ascending.
    """
    return summed_ns(*interval_columns.union(starts, ends), edges)


def summed_ns(starts: Column, ends: Column, edges: Column, amounts: Column | None = None) -> Column:
    """Return the time of all intervals in each bucket, ns, as a column of shape (buckets,). Overlaps count repeatedly.

    Args:
        starts: Starts of the intervals, ns.
        ends: Ends of the intervals, ns.
        edges: Edges of the buckets, ascending.
        amounts: Part of each interval that counts, ns, spread evenly over it; by default all of it.
    """
    pieces = cut_at_edges(starts, ends, edges)
    total = np.zeros(len(edges) - 1, np.int64)
    if amounts is None:
        np.add.at(total, pieces.bucket, pieces.end_ns - pieces.start_ns)
        return total
    begin, amount = starts[pieces.row], amounts[pieces.row]
    length = ends[pieces.row] - begin
    # Differences of rounded sums up to each end: rounding moves less than 1 ns between neighbors and loses nothing.
    before, upto = (
        np.where(at - begin == length, amount, np.floor(amount * ((at - begin) / length)).astype(np.int64))
        for at in (pieces.start_ns, pieces.end_ns)
    )
    np.add.at(total, pieces.bucket, upto - before)
    return total


class Extremes(NamedTuple):
    """Values in each bucket. All columns have the shape (buckets,).

    Attributes:
        counts: Number of values.
        low: Least value; NaN in a bucket without values.
        mean: Mean value; NaN in a bucket without values.
        high: Largest value; NaN in a bucket without values.
    """

    counts: Column
    low: Values
    mean: Values
    high: Values


def moment_extremes(at_ns: Column, values: Column | Values, edges: Column) -> Extremes:
    """Return count, least, mean and largest of the values whose moments lie in each bucket.

    A moment at an edge belongs to the bucket that begins there, and one at the last edge to the last bucket.

    Args:
        at_ns: Moment of each value, ns.
        values: Values of any unit.
        edges: Edges of the buckets, ascending.
    """
    inside = np.flatnonzero((at_ns >= edges[0]) & (at_ns <= edges[-1]))
    bucket = np.minimum(np.searchsorted(edges, at_ns[inside], side="right") - 1, len(edges) - 2)
    return _grouped(bucket, values[inside].astype(np.float64), np.ones(len(inside)), len(edges) - 1)


def span_extremes(starts: Column, ends: Column, values: Values, edges: Column) -> Extremes:
    """Return least, mean and largest of the values that stand for parts of each bucket; the mean is one over time.

    Args:
        starts: Start of the time for which each value stands, ns.
        ends: End of that time, ns.
        values: Values of any unit, without NaN.
        edges: Edges of the buckets, ascending.
    """
    pieces = cut_at_edges(starts, ends, edges)
    weights = (pieces.end_ns - pieces.start_ns).astype(np.float64)
    return _grouped(pieces.bucket, values[pieces.row], weights, len(edges) - 1)


def _grouped(bucket: Column, values: Values, weights: Values, buckets: int) -> Extremes:
    low, high = np.full(buckets, np.inf), np.full(buckets, -np.inf)
    np.minimum.at(low, bucket, values)
    np.maximum.at(high, bucket, values)
    count = np.bincount(bucket, minlength=buckets).astype(np.int64)
    weight = np.bincount(bucket, weights, buckets)
    weighted = np.bincount(bucket, values * weights, buckets)
    known = count > 0
    nothing = np.full(buckets, np.nan)
    mean = np.divide(weighted, weight, out=nothing.copy(), where=known & (weight > 0))
    low, high = np.where(known, low, nothing), np.where(known, high, nothing)
    return Extremes(count, low, np.clip(mean, low, high), high)  # rounding must not carry a mean beyond its values
