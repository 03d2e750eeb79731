# SPDX-License-Identifier: MIT
"""The projected time of a job, and its interval."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.analysis.model_cost import ModelShape, forward_flops
from virnuc_profiler.analysis.projection.job_time import Pace, interval_of_hours, project_job
from virnuc_profiler.analysis.projection.length_strata import strata_of
from virnuc_profiler.telemetry.rates import steady_projected_hours

SHAPE = ModelShape(6, 320)
PACE = Pace(tokens_per_sec=100_000.0, start_up_s=2.0, own_half_width=0.01, measured_s=10.0, gpu_util=99.0)
LENGTHS = st.lists(st.integers(2, 1024), min_size=1, max_size=200).map(np.array)
SHAPES = st.sampled_from([None, SHAPE])


@given(LENGTHS, SHAPES, st.integers(1, 10**9))
def test_a_job_like_the_run_takes_what_the_telemetry_summary_says(lengths, shape, scale):
    """By strata here, and by sequences per second there."""
    strata = strata_of(lengths)
    sequences = scale * len(lengths)
    time = project_job(PACE, strata, strata, shape, sequences=sequences)
    rate = PACE.tokens_per_sec / strata.mean_tokens
    assert time.hours == pytest.approx((PACE.start_up_s + sequences / rate) / 3600)
    six_million = project_job(PACE, strata, strata, shape, sequences=6_000_000)
    assert six_million.hours == pytest.approx(steady_projected_hours(PACE.start_up_s, rate))


@given(LENGTHS, LENGTHS)
def test_a_job_of_another_mix_takes_its_flops(run, job):
    time = project_job(PACE, strata_of(run), strata_of(job), SHAPE, sequences=len(job))

    def flops(lengths):
        return forward_flops(int(lengths.sum()), int((lengths**2).sum()), SHAPE)

    flops_per_sec = PACE.tokens_per_sec * flops(run) / run.sum()
    assert time.hours == pytest.approx((PACE.start_up_s + flops(job) / flops_per_sec) / 3600)
    assert sum(stratum.hours for stratum in time.strata) == pytest.approx(time.hours - PACE.start_up_s / 3600)
    assert sum(stratum.tokens for stratum in time.strata) == pytest.approx(job.sum())


@given(LENGTHS, LENGTHS, SHAPES, st.integers(1, 10**7), st.floats(1e-4, 0.2), st.floats(0.1, 1e4))
def test_the_interval_holds_the_hours_and_grows_with_each_of_its_parts(run, job, shape, sequences, own, seconds):
    pace = replace(PACE, own_half_width=own, measured_s=seconds)
    run, job = strata_of(run), strata_of(job)
    time = project_job(pace, run, job, shape, sequences=sequences)
    assert 0 < time.low_hours < time.hours < time.high_hours
    wider = [
        project_job(replace(pace, **change), run, job, shape, sequences=sequences)
        for change in ({"own_half_width": own + 0.1}, {"measured_s": seconds / 2}, {"gpu_util": 50.0})
    ]
    assert all(other.parts.total > time.parts.total for other in wider)
    assert {other.hours for other in wider} == {time.hours}


def test_long_sequences_have_fewer_tokens_per_second():
    strata = strata_of(np.array([60, 60, 1000]))
    first, *_, last = project_job(PACE, strata, strata, SHAPE, sequences=3).strata
    assert first.tokens_per_sec > PACE.tokens_per_sec > last.tokens_per_sec
    in_tokens, *_ = project_job(PACE, strata, strata, None, sequences=3).strata
    assert in_tokens.tokens_per_sec == pytest.approx(PACE.tokens_per_sec)


def test_a_run_that_has_not_settled_has_a_wide_interval():
    strata = strata_of(np.array([100, 200]))
    time = project_job(replace(PACE, own_half_width=None), strata, strata, SHAPE, sequences=10**6)
    assert time.high_hours / time.hours > 1.25


def test_repeated_runs_tell_how_much_runs_differ():
    strata = strata_of(np.array([100, 200]))
    rates = (90_000.0, 110_000.0, 95_000.0, 105_000.0)
    time = project_job(replace(PACE, repeats=rates), strata, strata, SHAPE, sequences=10**6)
    logs = np.log(rates)
    assert time.parts.own == 0
    assert time.parts.between_runs == pytest.approx(3.182446 * logs.std(ddof=1) * math.sqrt(1.25))
    assert time.hours == pytest.approx((2 + 150 * 10**6 / math.exp(logs.mean())) / 3600)
    equal = project_job(replace(PACE, repeats=(1e5,) * 9), strata, strata, SHAPE, sequences=10**6)
    assert equal.parts.between_runs == 0.02
    few = project_job(replace(PACE, repeats=rates[:2]), strata, strata, SHAPE, sequences=10**6)
    assert few == project_job(PACE, strata, strata, SHAPE, sequences=10**6)


def test_the_error_of_the_mean_length_is_that_of_what_was_not_seen():
    job = strata_of(np.arange(2, 1002))

    def error(sequences, **options):
        return project_job(PACE, job, job, SHAPE, sequences=sequences, **options).parts.mean_length

    assert error(1000) == 0
    assert error(1001) < error(2000) < error(10**7)
    assert error(10**9) == pytest.approx(1.96 * np.arange(2, 1002).std() / 501.5 / math.sqrt(1000), rel=1e-3)
    assert error(10**9, stratified=True) < error(10**9) / 4


def test_another_mix_of_lengths_is_less_sure():
    short, long = strata_of(np.full(10, 50)), strata_of(np.full(10, 900))
    for shape in (SHAPE, None):
        assert project_job(PACE, short, short, shape, sequences=10).parts.mix == 0
        assert project_job(PACE, short, long, shape, sequences=10).parts.mix > 0.05


def test_the_interval_of_a_sweeps_projection_is_that_of_its_run():
    strata = strata_of(np.array([100, 200]))
    time = project_job(PACE, strata, strata, SHAPE, sequences=2)
    assert interval_of_hours(time.hours, PACE) == pytest.approx((time.low_hours, time.high_hours))


SHORT_RUNS = (
    (1.05, 0.127), (0.925, 0.131), (0.941, 0.093), (1.021, 0.101), (0.857, 0.102), (0.936, 0.105), (0.997, 0.077),
    (1.037, 0.094), (0.917, 0.181), (1.051, 0.062), (1.031, 0.075), (1.02, 0.098), (0.978, 0.119), (1.002, 0.101),
    (0.915, 0.091), (0.917, 0.2), (1.061, 0.056),
)  # fmt: skip
"""Steady rate over that of a run of 7.5 s, and relative half-width of its interval: settled runs of 20,000 sequences
and 0.55 s, 8M model, fp16, NVIDIA H200."""


@pytest.mark.parametrize(("ratio", "own"), SHORT_RUNS)
def test_the_interval_of_a_short_run_holds_a_long_one(ratio, own):
    strata = strata_of(np.array([100, 200]))
    pace = Pace(8.9e6 * ratio, 0.06, own, measured_s=0.45, gpu_util=85.0)
    time = project_job(pace, strata, strata, SHAPE, sequences=300_000)
    assert time.low_hours < (0.06 + 150 * 300_000 / 8.9e6) / 3600 < time.high_hours
