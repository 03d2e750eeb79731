# SPDX-License-Identifier: MIT
"""The reduction of a run to buckets of time loses nothing: compared with counting every ns."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.analysis.timeline.time_buckets import (
    bucket_edges,
    covered_ns,
    cut_at_edges,
    moment_extremes,
    span_extremes,
    summed_ns,
)

intervals = st.lists(st.tuples(st.integers(-20, 80), st.integers(-20, 80)), max_size=12)
windows = st.tuples(st.integers(-10, 30), st.integers(1, 60)).map(lambda pair: (pair[0], pair[0] + pair[1]))
counts = st.integers(1, 40)


def columns(pairs):
    return tuple(np.array(column, np.int64) for column in (zip(*pairs, strict=True) if pairs else ((), ())))


def points(pairs, window):
    return {at for start, end in pairs for at in range(max(start, window[0]), min(end, window[1]))}


@given(windows, counts)
def test_edges_tile_the_window_evenly(window, count):
    edges = bucket_edges(window, count)
    lengths = np.diff(edges)
    assert (edges[0], edges[-1]) == window
    assert len(lengths) == min(count, window[1] - window[0])
    assert lengths.max() - lengths.min() <= 1


def test_edges_of_a_long_run_do_not_overflow():
    edges = bucket_edges((2**61, 2**62), 100_000)
    assert (np.diff(edges) > 0).all()
    assert edges[-1] == 2**62


def test_an_empty_window_has_one_empty_bucket():
    assert bucket_edges((5, 5), 7).tolist() == [5, 5]
    assert covered_ns(*columns([(0, 9)]), bucket_edges((5, 5), 7)).tolist() == [0]


@given(intervals, windows, counts)
def test_covered_time_is_that_of_each_bucket(pairs, window, count):
    edges = bucket_edges(window, count)
    covered = covered_ns(*columns(pairs), edges)
    inside = points(pairs, window)
    assert covered.sum() == len(inside)
    assert covered.tolist() == [len([at for at in inside if low <= at < high]) for low, high in pairwise(edges)]


@given(intervals, windows, counts)
def test_summed_time_counts_overlaps_repeatedly(pairs, window, count):
    summed = summed_ns(*columns(pairs), bucket_edges(window, count))
    assert summed.sum() == sum(len(points([pair], window)) for pair in pairs)


@given(intervals, counts, st.data())
def test_parts_of_intervals_keep_their_sum(pairs, count, data):
    pairs = [(start, end) for start, end in pairs if start < end]
    amounts = [data.draw(st.integers(0, end - start)) for start, end in pairs]
    starts, ends = columns(pairs)
    found = summed_ns(starts, ends, bucket_edges((-20, 80), count), np.array(amounts, np.int64))
    assert found.sum() == sum(amounts)
    assert (found >= 0).all()


def test_parts_of_very_long_intervals_keep_their_sum():
    starts, ends, amounts = (np.array([value], np.int64) for value in (0, 2**61, 2**61 - 3))
    assert summed_ns(starts, ends, bucket_edges((0, 2**61), 999), amounts).sum() == 2**61 - 3


@given(intervals, windows, counts)
def test_pieces_are_their_intervals(pairs, window, count):
    pieces = cut_at_edges(*columns(pairs), bucket_edges(window, count))
    found = {}
    for row, _, start, end in zip(*(column.tolist() for column in pieces), strict=True):
        found.setdefault(row, []).extend(range(start, end))
    assert found == {row: sorted(points([pair], window)) for row, pair in enumerate(pairs) if points([pair], window)}


moments = st.lists(st.tuples(st.integers(0, 60), st.integers(-(10**9), 10**9)), max_size=30)


@given(moments, windows, counts)
def test_no_value_disappears(pairs, window, count):
    at, values = columns(pairs)
    edges = bucket_edges(window, count)
    found = moment_extremes(at, values, edges)
    inside = [value for moment, value in pairs if window[0] <= moment <= window[1]]
    assert found.counts.sum() == len(inside)
    if inside:
        assert np.nanmin(found.low) == min(inside)
        assert np.nanmax(found.high) == max(inside)
        known = found.counts > 0
        assert np.isclose((found.mean * found.counts)[known].sum(), sum(inside), rtol=1e-9, atol=1e-3)
        assert (found.low[known] <= found.mean[known]).all()
        assert (found.mean[known] <= found.high[known]).all()
    assert np.isnan(found.low[found.counts == 0]).all()


@given(intervals, windows, counts)
def test_a_curve_keeps_its_extremes_and_its_mean_over_time(pairs, window, count):
    pairs = [(start, end) for start, end in pairs if start < end]
    starts, ends = columns(pairs)
    values = np.arange(len(pairs), dtype=np.float64)
    edges = bucket_edges(window, count)
    found = span_extremes(starts, ends, values, edges)
    inside = [place for place, pair in enumerate(pairs) if points([pair], window)]
    if not inside:
        assert found.counts.sum() == 0
        return
    assert np.nanmin(found.low) == min(inside)
    assert np.nanmax(found.high) == max(inside)
    time = summed_ns(starts, ends, edges)
    weighted = sum(place * len(points([pairs[place]], window)) for place in inside)
    assert np.isclose(np.nansum(found.mean * time), weighted)
