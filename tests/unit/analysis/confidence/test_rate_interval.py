# SPDX-License-Identifier: MIT
"""Intervals of rates: what they contain, what they refuse, and what does not change them."""

import json

import numpy as np
import pytest
from benchmarks.batch_series import NOISES, TRUE_RATE, make_series
from hypothesis import given, settings
from hypothesis import strategies as st

from virnuc_profiler.analysis.confidence.rate_interval import (
    MIN_BATCHES,
    SETTLED,
    TOO_SHORT,
    UNSETTLED,
    RateInterval,
    rate_interval,
)

MS = 1_000_000


def noise_named(name):
    return next(noise for noise in NOISES if noise.name == name)


def interval_of(seconds, work=None, **options):
    times = np.concatenate([[0.0], np.cumsum(seconds)])
    work = np.ones(len(seconds)) if work is None else work
    return rate_interval(np.rint(times * 1e9).astype(np.int64), work, **options)


def noisy_seconds(seed, batches=200, deviation=0.05):
    return 0.01 * (1 + np.random.default_rng(seed).normal(0, deviation, batches))


def test_equal_batches_have_an_interval_of_no_width():
    found = rate_interval(np.arange(101) * MS, np.full(100, 5.0))
    assert found.state == SETTLED
    assert found.rate == pytest.approx(5000)
    assert (found.low, found.high) == pytest.approx((5000, 5000))
    assert found.window == (0, 100 * MS)


def test_the_rate_is_the_work_of_the_window_divided_by_its_time():
    random = np.random.default_rng(3)
    work = random.uniform(0.5, 1.5, 300)
    seconds = work * (0.01 + random.normal(0, 0.0005, 300))
    seconds[:20] *= 3
    times = np.rint(np.concatenate([[0.0], np.cumsum(seconds)]) * 1e9).astype(np.int64)
    found = rate_interval(times, work)
    begin = int(np.flatnonzero(times == found.window[0])[0])
    assert 20 <= begin <= 60
    assert found.window[1] == times[-1]
    assert found.rate == pytest.approx(work[begin:].sum() * 1e9 / (times[-1] - times[begin]))
    assert found.low < 100 < found.high


@pytest.mark.parametrize("batches", [0, 1, 2, 10, MIN_BATCHES - 1])
def test_few_batches_are_too_short(batches):
    found = interval_of(noisy_seconds(1, batches))
    assert found.state == TOO_SHORT
    assert (found.low, found.high, found.blocks) == (None, None, 0)
    assert (found.rate is None) == (batches == 0)


def test_batches_without_time_or_work_have_no_rate():
    assert rate_interval([5, 5, 5], [1, 1]).rate is None
    assert rate_interval([5, 6, 7], [0, 0]).rate is None


def test_a_first_batch_that_took_seconds_is_left_out():
    seconds = noisy_seconds(2)
    seconds[0] = 7
    found = interval_of(seconds)
    assert found.state == SETTLED
    assert found.window[0] >= 7e9
    assert found.low < 100 < found.high


def test_noise_alone_is_no_warm_up():
    whole = [interval_of(noisy_seconds(seed)).window[0] == 0 for seed in range(40)]
    assert sum(whole) >= 38


def test_a_run_that_slows_down_all_the_time_is_unsettled():
    seconds = noisy_seconds(4, deviation=0.01) * np.linspace(1, 1.3, 200)
    found = interval_of(seconds)
    assert found.state == UNSETTLED
    assert (found.low, found.high) == (None, None)
    assert found.window[0] > 0


def test_a_run_that_is_still_warming_up_is_unsettled():
    assert interval_of(noisy_seconds(5, 100, 0.01) * (1 + np.exp(-np.arange(100) / 50))).state == UNSETTLED


@pytest.mark.parametrize("step", [0.03, 0.1, 0.5])
def test_a_late_jump_widens_the_interval_to_both_levels_or_leaves_none(step):
    seconds = noisy_seconds(12, deviation=0.01)
    seconds[140:] *= 1 + step
    found = interval_of(seconds)
    if found.state == SETTLED:
        assert found.low < 100 / (1 + step)
        assert found.high > 100 / (1 + 0.4 * step)
    assert found.state == SETTLED or step > 0.05


def test_the_pattern_of_a_pass_is_no_noise():
    pattern = np.tile(np.repeat([0.5, 1.5], 10), 10) * noisy_seconds(6, deviation=0.01)
    ends = [20 * number + 19 for number in range(10)]
    known, unknown = interval_of(pattern, pass_ends=ends), interval_of(pattern)
    assert known.relative_half_width < unknown.relative_half_width / 3
    assert known.low < 100 < known.high


def test_a_cold_first_pass_is_left_out_as_a_whole():
    seconds = np.tile(np.repeat([0.005, 0.015], 10), 10) * np.random.default_rng(7).normal(1, 0.01, 200)
    seconds[:12] *= 2
    found = interval_of(seconds, pass_ends=[20 * number + 19 for number in range(10)])
    assert found.window[0] == round(seconds[:20].sum() * 1e9)
    assert found.low < 100 < found.high


def test_autocorrelation_widens_the_interval():
    random = np.random.default_rng(8)
    widths = {}
    for name in ("independent", "AR(1), 0.9"):
        series = [make_series(noise_named(name), random, 500) for _ in range(20)]
        widths[name] = np.mean([rate_interval(one.times_ns, one.work).relative_half_width for one in series])
    assert widths["AR(1), 0.9"] > 3 * widths["independent"]


def test_more_batches_narrow_the_interval():
    short, long = (interval_of(noisy_seconds(9, batches)).relative_half_width for batches in (100, 6400))
    assert long < short / 4


def test_more_confidence_widens_the_interval():
    widths = [interval_of(noisy_seconds(10), confidence=level).relative_half_width for level in (0.5, 0.9, 0.95, 0.99)]
    assert widths == sorted(widths)
    assert len(set(widths)) == 4


@given(st.integers(0, 2**20), st.integers(10, 300), st.floats(1e-3, 1e9), st.integers(1, 1000), st.integers(0, 10**15))
@settings(max_examples=60, deadline=None)
def test_units_of_work_and_time_only_scale_the_rate(seed, batches, work_unit, time_unit, begin):
    random = np.random.default_rng(seed)
    durations = random.integers(1000, 3000, batches)
    times, work = np.concatenate([[0], np.cumsum(durations)]), random.uniform(1, 2, batches)
    one = rate_interval(times, work)
    other = rate_interval(begin + times * time_unit, work * work_unit)
    factor = work_unit / time_unit
    assert other.state == one.state
    for name in ("rate", "low", "high"):
        first, second = getattr(one, name), getattr(other, name)
        assert second == (None if first is None else pytest.approx(first * factor, rel=1e-6))


@given(st.integers(0, 2**20), st.integers(0, 400), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_any_series_has_a_state_and_survives_json(seed, batches, passes):
    random = np.random.default_rng(seed)
    times = np.cumsum(random.integers(0, 4, batches + 1) ** 8)
    ends = random.integers(0, batches, passes) if batches else []
    found = rate_interval(times, random.integers(0, 3, batches), pass_ends=ends)
    assert (found.state == SETTLED) == (found.low is not None)
    if found.low is not None:
        assert 0 < found.low <= found.rate <= found.high
        assert found.relative_half_width <= 0.4
    assert RateInterval.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    ("times", "work", "options", "message"),
    [
        ([0, 1, 2], [1, 1, 1], {}, "n \\+ 1"),
        ([0, 2, 1], [1, 1], {}, "descends"),
        ([0, 1, 2], [1, -1], {}, "negative"),
        ([0, 1, 2], [1, float("nan")], {}, "not finite"),
        ([0, 1, 2], [1, 1], {"pass_ends": [2]}, "2 batches"),
        ([0, 1, 2], [1, 1], {"confidence": 95}, "0.95"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(times, work, options, message):
    with pytest.raises(ValueError, match=message):
        rate_interval(times, work, **options)


@pytest.mark.parametrize("name", ["independent", "AR(1), 0.6", "AR(1), 0.9", "periodic within a pass", "two modes"])
def test_the_interval_contains_the_truth_as_often_as_it_says(name):
    random = np.random.default_rng([11, *name.encode()])
    series = [make_series(noise_named(name), random, 500) for _ in range(200)]
    found = [rate_interval(one.times_ns, one.work, pass_ends=one.pass_ends) for one in series]
    settled = [one for one in found if one.state == SETTLED]
    assert len(settled) >= 190
    assert 0.90 <= np.mean([one.low <= TRUE_RATE <= one.high for one in settled]) <= 0.995


@pytest.mark.parametrize("slow", [5, 20, 37, 60])
def test_a_warm_up_without_any_noise_ends_too(slow):
    """Only the clock's rounding to nanoseconds is left, which is neither noise nor a trend."""
    work = np.random.default_rng(0).integers(4000, 4097, 212)
    times_ns = np.cumsum([0, *np.round(work * 1e4 * np.where(np.arange(212) < slow, 2, 1))]).astype(np.int64)
    found = rate_interval(times_ns, work)
    assert found.state == SETTLED
    assert found.low <= found.rate <= found.high
    assert found.rate == pytest.approx(1e5)
