# SPDX-License-Identifier: MIT
"""For any records, busy time, gaps, lead-in and tail add up to the window exactly, and causes to their gap."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from virnuc_profiler.analysis.diagnosis.gaps import device_gaps
from virnuc_profiler.analysis.diagnosis.host_activity import host_timeline
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.records import STAGES, BatchRecord, StageRecord

WINDOW = (0, 10_000_000)
times = st.integers(-1_000_000, 11_000_000)
spans = st.tuples(times, st.integers(0, 3_000_000)).map(lambda pair: (pair[0], sum(pair)))


@st.composite
def stages(draw):
    host = draw(spans)
    device = draw(st.none() | spans)
    return StageRecord(draw(st.sampled_from((*STAGES, "own"))), *host, *(device or (None, None)))


batches = st.builds(
    lambda index, span, parts, dropped: BatchRecord(index, *span, tuple(parts), None, dropped),
    st.integers(0, 99),
    spans,
    st.lists(stages(), max_size=6),
    st.booleans(),
)
tables = st.lists(batches, max_size=8).map(BatchTable.from_records)


@given(tables, st.integers(0, 300_000))
def test_everything_adds_up(records, slack_ns):
    found = device_gaps(records, WINDOW, host_timeline(records, WINDOW), slack_ns)
    if found.in_stages:
        gaps_ns = sum(gap.duration_ns for gap in found.gaps)
        assert found.in_stages_ns + gaps_ns + found.lead_in_ns + found.tail_ns == WINDOW[1] - WINDOW[0]
    for gap in found.gaps:
        assert sum(gap.causes.values()) == gap.duration_ns > 0
        assert all(duration_ns > 0 for duration_ns in gap.causes.values())
    assert sum(line.total_ns for line in found.totals()) == sum(gap.duration_ns for gap in found.gaps)


AN_EARLY_GAP = BatchTable.from_records(
    [BatchRecord(0, 0, 0, (StageRecord("forward", 0, 0, 0, 1), StageRecord("forward", 0, 0, 3, 4)))]
)


@given(tables, spans)
@example(AN_EARLY_GAP, (2, 2))  # empty, inside a gap
def test_a_part_of_the_window_adds_up_too(records, part):
    whole = device_gaps(records, WINDOW, host_timeline(records, WINDOW))
    inside = (max(part[0], WINDOW[0]), min(part[1], WINDOW[1]))
    found = whole.within(inside)
    for gap in found.gaps:
        assert inside[0] <= gap.start_ns < gap.end_ns <= inside[1]
        assert sum(gap.causes.values()) == gap.duration_ns
        assert all(duration_ns > 0 for duration_ns in gap.causes.values())
    if found.in_stages:
        gaps_ns = sum(gap.duration_ns for gap in found.gaps)
        assert found.in_stages_ns + gaps_ns + found.lead_in_ns + found.tail_ns == inside[1] - inside[0]


@given(tables)
def test_the_hosts_segments_tile_the_window(records):
    segments = host_timeline(records, WINDOW).segments
    assert segments[0].start_ns == WINDOW[0]
    assert segments[-1].end_ns == WINDOW[1]
    assert all(before.end_ns == after.start_ns for before, after in pairwise(segments))
