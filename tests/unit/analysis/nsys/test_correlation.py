# SPDX-License-Identifier: MIT
"""Comparison of a run with its capture: matched stages, and their differences."""

from datetime import datetime
from itertools import count

import pytest

from tests.support.nsys_files import PROCESS, THREAD
from tests.support.run_records import MS, batch, run_of, stage
from virnuc_profiler.analysis.nsys.correlation import correlate, mismatch_reason
from virnuc_profiler.analysis.nsys.gpu_capture import GpuCapture
from virnuc_profiler.analysis.nsys.gpu_records import GpuOperation, NvtxRange
from virnuc_profiler.analysis.nsys.projection import Projection
from virnuc_profiler.analysis.nsys.range_matching import match_stages

OFFSET = -123_456_789
ROWS = count()


def projection_of(name, payload, start_ms, span_ms=None):
    """A range at a time on the run's clock, with one operation on the GPU."""
    start = round(start_ms * MS) + OFFSET
    range_ = NvtxRange("virnuc_profiler", name, payload, THREAD, start, start + MS)
    if span_ms is None:
        return Projection(range_)
    gpu_start, gpu_end = (round(at * MS) + OFFSET for at in span_ms)
    operation = GpuOperation(PROCESS, 1, 0, gpu_start, gpu_end, "kernel", "gemm", row=next(ROWS))
    duration = gpu_end - gpu_start
    return Projection(range_, (operation,), duration, duration, duration, gpu_start, gpu_end, gpu_start - start)


def steady_run(count, period_ms=10.0):
    """Batches at uneven distances, each with a fetch and a forward that was timed on the device."""
    starts = [number * period_ms + number * number % 7 for number in range(count)]
    stages = [(stage("fetch", at, at + 1), stage("forward", at + 1, at + 2, (at + 2, at + 8))) for at in starts]
    return run_of([batch(n, at, at + 9, stages[n]) for n, at in enumerate(starts)], starts[-1] + 20 if starts else 1)


def capture_of(run, shift_ms=0.0, delay_ms=0.002):
    projections = []
    for record in run.batches:
        for part in record.stages:
            at = part.host_start_ns / MS + shift_ms + delay_ms
            device = None
            if part.device_start_ns is not None:
                device = (part.device_start_ns / MS + shift_ms + 0.005, part.device_end_ns / MS + shift_ms)
            projections.append(projection_of(part.name, record.index, at, device))
    return projections


def test_every_stage_finds_its_range():
    run = steady_run(12)
    matching = match_stages(run, capture_of(run))
    assert len(matching.pairs) == matching.in_both == 24
    assert all(pair.batch == pair.projection.range.payload for pair in matching.pairs)
    assert all(pair.stage.name == pair.projection.range.name for pair in matching.pairs)
    assert matching.clock.offset_ns == OFFSET + 2000
    assert matching.clock.deviation_max_ns <= 1
    counts = matching.counts["forward"]
    assert (counts.in_run, counts.in_capture, counts.matched, counts.missing_in_capture) == (12, 12, 12, 0)


def test_what_is_missing_on_either_side_is_counted():
    run = steady_run(10)
    ranges = [p for p in capture_of(run) if p.range.payload != 3 and (p.range.name, p.range.payload) != ("fetch", 4)]
    ranges.append(projection_of("fetch", 10, 130))  # the wait after the last batch
    counts = match_stages(run, ranges).counts
    assert (counts["fetch"].matched, counts["fetch"].missing_in_capture, counts["fetch"].missing_in_run) == (8, 2, 1)
    assert (counts["forward"].matched, counts["forward"].missing_in_run) == (9, 0)


@pytest.mark.parametrize("shift_ms", [-5000.0, 400.0])
def test_a_warm_up_with_the_same_payloads_is_told_apart_by_time(shift_ms):
    run = steady_run(10)
    warm_up = [p for p in capture_of(run, shift_ms) if p.range.payload < 4]
    matching = match_stages(run, [*warm_up, *capture_of(run)])
    assert len(matching.pairs) == 20
    assert matching.clock.offset_ns == OFFSET + 2000
    counts = matching.counts["forward"]
    assert (counts.matched, counts.missing_in_run, counts.repeated_in_capture, counts.repeated_in_run) == (10, 4, 4, 0)


@pytest.mark.parametrize("between_ms", [0.2, 3])
def test_a_stage_that_occurs_twice_in_a_batch_finds_both_of_its_ranges_in_order(between_ms):
    first = stage("forward", 0, 0.1)
    stages = (first, stage("fetch", 0.1, between_ms), stage("forward", between_ms, between_ms + 0.1))
    run = run_of([batch(0, 0, 5, stages)], 5)
    matching = match_stages(run, capture_of(run))
    assert [pair.clock_offset_ns for pair in matching.pairs] == [OFFSET + 2000] * 3
    assert matching.counts["forward"].repeated_in_run == matching.counts["forward"].repeated_in_capture == 1


def test_clocks_that_drift_apart_are_still_one_pair():
    run = steady_run(200)
    drift = 20e-6
    ranges = [p for record in run.batches for p in capture_of(run_of([record], 1), record.host_start_ns / MS * drift)]
    matching = match_stages(run, ranges)
    assert len(matching.pairs) == 400
    assert 0 < matching.clock.deviation_p99_ns <= matching.clock.deviation_max_ns < 40_000
    forward = next(s for s in correlate(run, ranges, "virnuc_profiler").stages if s.name == "forward")
    assert {round(comparison.end_difference_ns, -1) for comparison in forward.batches} == {2000}, "aligned where it is"


def test_differences_say_where_they_come_from():
    run = run_of([batch(0, 0, 20, (stage("fetch", 0, 1), stage("forward", 1, 2, (2, 12))))], 20)
    ranges = [projection_of("fetch", 0, 0), projection_of("forward", 0, 1.004, (2.5, 11.9))]
    fetch, forward = correlate(run, ranges, "virnuc_profiler").stages
    (comparison,) = forward.batches
    assert comparison.clock_offset_ns == OFFSET, "the smallest of the batch's stages"
    assert comparison.difference_ns == 600_000
    assert comparison.start_difference_ns == -500_000
    assert comparison.end_difference_ns == 100_000
    assert comparison.agrees is False
    assert (forward.agreement.batches, forward.agreement.share_within, forward.agreement.worst_batch) == (1, 0.0, 0)
    assert (fetch.agreement, fetch.median_device_ns, fetch.total.median_span_ns) == (None, None, None)


@pytest.mark.parametrize(
    ("span_ms", "ours_ms", "agrees"),
    [(10, 10.1, True), (10, 10.10001, False), (1, 1.02, True), (1, 0.98, True), (1, 1.02001, False)],
)
def test_agreement_is_within_1_percent_or_20_microseconds(span_ms, ours_ms, agrees):
    run = run_of([batch(0, 0, 30, (stage("forward", 0, 1, (2, 2 + ours_ms)),))], 30)
    (forward,) = correlate(run, [projection_of("forward", 0, 0, (2, 2 + span_ms))], "virnuc_profiler").stages
    assert forward.agreement.share_within == float(agrees)


def test_agreement_over_batches():
    ours = (10.0, 10.05, 9.8)
    records = [
        batch(n, at, at + 20, (stage("forward", at, at + 1, (at + 2, at + 2 + device)),))
        for n, at, device in zip(range(3), (0, 100, 200), ours, strict=True)
    ]
    run = run_of(records, 300)
    ranges = [projection_of("forward", n, 100 * n, (100 * n + 2, 100 * n + 12)) for n in range(3)]
    (forward,) = correlate(run, ranges, "virnuc_profiler").stages
    agreement = forward.agreement
    assert (agreement.batches, agreement.share_within) == (3, 2 / 3)
    assert (agreement.median_difference_ns, agreement.worst_difference_ns, agreement.worst_batch) == (0, -200_000, 2)
    assert agreement.median_start_difference_ns == 0


def test_a_gap_between_kernels_of_a_stage_is_idle_by_the_capture_and_busy_by_our_interval():
    run = run_of([batch(n, 10 * n, 10 * n + 10, [stage("forward", 10 * n, 10 * n + 1, (10 * n, 10 * n + 10))])
                  for n in range(10)], 100)  # fmt: skip
    half = [projection_of("forward", n, 10 * n, (10 * n, 10 * n + 5)) for n in range(10)]
    busy = correlate(run, half, "virnuc_profiler").busy
    assert (busy.window_ns, busy.intervals, busy.operations) == (70 * MS, 1.0, 0.5)


def test_batches_without_device_times_are_compared_with_nothing():
    run = run_of([batch(0, 0, 9, (stage("forward", 0, 1),))], 9)
    (forward,) = correlate(run, [projection_of("forward", 0, 0, (2, 3))], "virnuc_profiler").stages
    assert forward.agreement is None
    assert (forward.batches[0].difference_ns, forward.batches[0].agrees) == (None, None)
    assert forward.total.total_ns == MS


def capture_at(utc_ms):
    return GpuCapture(utc_epoch_ns=utc_ms * MS - OFFSET)


def utc_of(run):
    return round(datetime.fromisoformat(run.started_at).timestamp() * 1000)


def test_a_run_and_its_own_capture_are_no_strangers():
    run = steady_run(10)
    correlation = correlate(run, capture_of(run), "virnuc_profiler")
    assert mismatch_reason(run, GpuCapture(), correlation) == ""
    assert mismatch_reason(run, capture_at(utc_of(run) + 500), correlation) == ""
    assert correlation.batches_in_run == correlation.batches_in_capture == correlation.batches_matched == 10


def test_another_run_of_the_same_configuration_is_known_by_its_rhythm():
    run, other = steady_run(40), steady_run(40, period_ms=9.7)
    correlation = correlate(run, capture_of(other), "virnuc_profiler")
    assert "80 stages occur in both, but no constant offset" in mismatch_reason(run, GpuCapture(), correlation)


def test_another_run_of_the_same_rhythm_is_known_by_its_date():
    run = steady_run(10)
    correlation = correlate(run, capture_of(run), "virnuc_profiler")
    assert "3,600 s apart" in mismatch_reason(run, capture_at(utc_of(run) + 3_600_000), correlation)


def test_nothing_in_common():
    run = steady_run(2)
    for ranges in (
        [],
        [projection_of("forward", 99, 0)],
        [projection_of("other", 0, 0), projection_of("fetch", None, 0)],
    ):
        correlation = correlate(run, ranges, "virnuc_profiler")
        assert correlation.clock is None
        assert "no stage and batch index" in mismatch_reason(run, GpuCapture(), correlation)


def test_a_run_without_batches():
    assert correlate(run_of([], 1), [], "virnuc_profiler").stages == ()
