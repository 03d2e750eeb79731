# SPDX-License-Identifier: MIT
"""Computations on columns of a whole run equal the definitions applied to each batch."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tests.property.test_device_gaps import batches
from tests.property.test_time_intervals import intervals
from tests.support.run_records import samples
from virnuc_profiler.analysis.diagnosis.launches import launches_of
from virnuc_profiler.analysis.gpu.throttling import ThrottleTimeline, throttled_batches
from virnuc_profiler.analysis.summary.batch_metrics import waiting_ns, waits_ns
from virnuc_profiler.analysis.timing import interval_columns
from virnuc_profiler.analysis.timing.intervals import clip, length, union
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.records import BatchRecord, GpuReading

records = st.lists(batches, max_size=8)


def columns(pairs):
    return np.array([start for start, _ in pairs], np.int64), np.array([end for _, end in pairs], np.int64)


def pairs_of(starts, ends):
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


@given(intervals, st.tuples(st.integers(-20, 60), st.integers(-20, 60)))
def test_intervals(pairs, window):
    starts, ends = columns(pairs)
    assert pairs_of(*interval_columns.union(starts, ends)) == union(pairs)
    assert interval_columns.length(starts, ends) == length(pairs)
    clipped = pairs_of(*interval_columns.clip(starts, ends, window))
    assert [(start, end) for start, end in clipped if start < end] == clip(pairs, window)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-20, 60), st.integers(-20, 60)), max_size=30))
def test_length_by_group(rows):
    group = np.array([row[0] for row in rows], np.int64)
    found = interval_columns.length_by_group(*columns([row[1:] for row in rows]), group, 6)
    assert found.tolist() == [length(row[1:] for row in rows if row[0] == number) for number in range(6)]


def test_length_by_group_where_times_are_large():
    starts = np.array([2**61, 0, 2**61 - 5], np.int64)
    group = np.array([0, 1, 0])
    assert interval_columns.length_by_group(starts, starts + 10, group, 2).tolist() == [15, 10]


@given(records)
def test_a_table_of_records_holds_these_records(found):
    table = BatchTable.from_records(found)
    assert list(table) == found
    assert list(table.take(np.arange(len(found))[::-1])) == found[::-1]
    stages = table.stages
    assert stages.batch.tolist() == [place for place, batch in enumerate(found) for _ in batch.stages]
    assert [stages.names[number] for number in stages.name] == [stage.name for batch in found for stage in batch.stages]


@given(records)
def test_waits(found):
    assert waits_ns(BatchTable.from_records(found)) == [waiting_ns(batch) for batch in found]


@given(records, st.integers(0, 300_000))
def test_launches(found, slack_ns):
    alone = [launch for batch in found for launch in launches_of(BatchTable.from_records([batch]), slack_ns).records()]
    assert launches_of(BatchTable.from_records(found), slack_ns).records() == alone


readings = st.lists(
    st.tuples(st.integers(-1_000_000, 11_000_000), st.none() | st.sampled_from((0, 1, 4, 0x20, 0x44))), max_size=12
)


@given(records, readings)
@example([BatchRecord(0, 0, 0, (), None, False)], [(0, None), (0, 4)])  # a reading that stands for no time
def test_throttled_batches(found, moments):
    fast = tuple(GpuReading(at, throttle_reasons=reasons) for at, reasons in sorted(moments, key=lambda pair: pair[0]))
    timeline = ThrottleTimeline(samples(fast=fast))
    known = [reasons for batch in found if (reasons := timeline.reasons_of(batch)) is not None]
    # A batch that was hardly sampled has no reasons, but counts as one that was not slowed.
    assert throttled_batches(timeline, found) in ({sum(map(bool, known))} if known else {0, None})
