# SPDX-License-Identifier: MIT
"""The pace of a run, and the interval in its summary."""

import pytest

from tests.support.run_records import batch, packing, run_of
from virnuc_profiler.analysis.model_cost import DeviceCeiling, ModelShape, arithmetic_metadata
from virnuc_profiler.analysis.projection.run_pace import is_stratified, pace_of_run, project_run, workload_lengths
from virnuc_profiler.analysis.summary.run_summary import run_summary

LENGTHS = {"upper_bounds": [64, 128], "sequences": [0, 1000], "tokens": [0, 100_000], "squares": [0, 10_000_000]}


def run_at(milliseconds, count=100, **workload):
    """A run that starts for a second, and then takes some time for each pack of 10 sequences of 100 tokens."""
    batches = [batch(n, -1, 1000 + milliseconds * n, [], packing([100] * 10)) for n in range(count + 1)]
    run = run_of(batches, 1000 + milliseconds * count)
    run.metadata.update(workload=workload)
    return run


def test_the_summary_has_the_interval_of_a_run_that_has_settled():
    run = run_at(10)
    summary = run_summary(run)
    interval, hours = summary["projected_6M_hours_interval"], summary["projected_6M_hours_steady"]
    assert interval["low"] < hours < interval["high"]
    assert hours == pytest.approx((1 + 6000) / 3600)
    time = project_run(run, summary, None)
    assert (time.hours, time.low_hours, time.high_hours) == pytest.approx((hours, *interval.values()))


def test_the_summary_of_a_run_that_is_too_short_to_tell_has_none():
    summary = run_summary(run_at(10, count=8))
    assert summary["projected_6M_hours_steady"] is not None
    assert summary["projected_6M_hours_interval"] is None


def test_a_run_without_a_steady_rate_is_as_fast_as_after_its_first_batch():
    run = run_at(10, count=2)
    pace = pace_of_run(run, run_summary(run), None)
    assert (pace.tokens_per_sec, pace.start_up_s, pace.own_half_width) == (pytest.approx(100_000), 1.0, None)
    assert pace_of_run(run_at(10, count=0), run_summary(run_at(10, count=0)), None) is None


def test_batches_that_were_not_counted_have_no_pace():
    run = run_of([batch(n, 0, 10 * n) for n in range(1, 50)], 500)
    assert pace_of_run(run, run_summary(run), None) is None
    assert project_run(run, run_summary(run), None) is None


def test_the_lengths_of_the_workload_count_and_not_those_that_an_early_end_left():
    run = run_at(10, length_strata=LENGTHS)
    assert workload_lengths(run).total_sequences == 1000
    assert workload_lengths(run_at(10, length_strata="?")) is None
    longer = {**LENGTHS, "tokens": [0, 120_000], "squares": [0, 14_400_000]}
    times = [
        project_run(each, run_summary(each), None).hours - 1 / 3600 for each in (run, run_at(10, length_strata=longer))
    ]
    assert times[1] == pytest.approx(1.2 * times[0])


def test_generated_and_sampled_workloads_are_stratified():
    assert is_stratified({"workload": {"sampling": "stratified"}})
    assert is_stratified({"workload_source": "generated, seed 42"})
    assert not is_stratified({"workload": {"num_sequences": 5}, "workload_source": "file"})


def test_the_shape_of_the_model_counts():
    shape = ModelShape(6, 320)
    run = run_at(10)
    run.metadata.update(arithmetic_metadata(shape, DeviceCeiling()))
    time = project_run(run, run_summary(run), shape)
    assert time.hours == pytest.approx(run_summary(run)["projected_6M_hours_steady"])
