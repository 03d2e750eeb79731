# SPDX-License-Identifier: MIT
"""Interval arithmetic compared with counting every ns."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.support.run_records import batch
from virnuc_profiler.analysis.summary.batch_metrics import completion_intervals
from virnuc_profiler.analysis.timing.intervals import clip, difference, length, union
from virnuc_profiler.telemetry.batch_table import BatchTable

intervals = st.lists(st.tuples(st.integers(-20, 60), st.integers(-20, 60)), max_size=12)


def points(pairs):
    return {at for start, end in pairs for at in range(start, end)}


@given(intervals)
def test_union_covers_the_same_points_and_is_disjoint_in_order(pairs):
    merged = union(pairs)
    assert points(merged) == points(pairs)
    assert all(start < end for start, end in merged)
    assert all(before[1] < after[0] for before, after in pairwise(merged))


@given(intervals)
def test_union_is_stable_and_forgets_the_order(pairs):
    assert union(union(pairs)) == union(pairs) == union(reversed(pairs))


@given(intervals)
def test_length(pairs):
    assert length(pairs) == len(points(pairs))


@given(intervals, intervals)
def test_difference(first, second):
    assert difference(first, second) == len(points(first) - points(second))


@given(intervals, st.tuples(st.integers(-20, 60), st.integers(-20, 60)))
def test_clip(pairs, window):
    assert points(clip(pairs, window)) == points(pairs) & points([window])


@given(st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(0, 2**62)), min_size=1, max_size=5))
def test_exact_beyond_what_floats_hold(pairs):
    whole = [(start, start + size) for start, size in pairs]
    moved = [(start + 1, end + 1) for start, end in whole]
    assert length(whole) == length(moved)
    assert isinstance(length(whole), int)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=15))
def test_batch_intervals_tile_the_time_from_first_to_last_completion(times):
    batches = [batch(number, start, start + size) for number, (start, size) in enumerate(times)]
    tiles = sorted(completion_intervals(BatchTable.from_records(batches)))
    ends = sorted(record.host_end_ns for record in batches)
    first = min((record.host_end_ns, record.host_start_ns) for record in batches)
    assert sum(end - start for start, end in tiles) == ends[-1] - first[1]
    assert all(before[1] <= after[0] for before, after in pairwise(tiles))
