# SPDX-License-Identifier: MIT
"""Slices of a track in rows without overlaps."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.reports.export.trace_tracks import MAX_LANES, Slices, lanes

spans = st.tuples(st.integers(0, 30), st.integers(0, 9)).map(lambda pair: (pair[0], sum(pair)))


def slices_of(pairs):
    starts, ends = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    return Slices(starts, ends, ["a"], np.zeros(len(pairs), np.int64), {"row": np.arange(len(pairs))})


def depth(pairs):
    """Return the largest number of slices at one time; slices without length touch nothing."""
    return max((sum(start <= at < end for start, end in pairs) for at in range(40)), default=0)


@given(st.lists(spans, max_size=30))
def test_each_slice_is_in_one_lane_without_overlaps(pairs):
    found = lanes(slices_of(pairs))
    rows = np.concatenate([lane.arguments["row"] for lane in found]) if found else []
    assert sorted(rows) == list(range(len(pairs)))
    for lane in found:
        assert np.all(lane.start_ns[1:] >= lane.end_ns[:-1])


@given(st.lists(spans.filter(lambda pair: pair[0] < pair[1]), max_size=20))
def test_few_lanes_are_enough(pairs):
    assert len(lanes(slices_of(pairs))) <= max(2 * depth(pairs) - 1, 0)  # a greedy choice is at most so much worse


def test_more_slices_at_once_than_a_viewer_can_show_are_left_out():
    found = lanes(slices_of([(0, 10)] * (MAX_LANES + 5)))
    assert [len(lane) for lane in found] == [1] * MAX_LANES
