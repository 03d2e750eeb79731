# SPDX-License-Identifier: MIT
"""Means and trends of autocorrelated values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virnuc_profiler.analysis.confidence.autocorrelation import doubt_of_mean, trend_error
from virnuc_profiler.analysis.confidence.student import two_sided_t


def test_equal_values_leave_no_doubt_and_have_no_trend():
    assert doubt_of_mean(np.full((20, 1), 3.0), 0.05) == (0, 0)
    assert trend_error(np.full((20, 1), 3.0)) == 1


def test_the_doubt_of_independent_values_is_near_that_of_student():
    ratios = []
    for seed in range(30):
        values = np.random.default_rng(seed).normal(5, 1, (32, 1))
        ratios.append(doubt_of_mean(values, 0.05).above / (two_sided_t(0.05, 31) * values.std(ddof=1) / np.sqrt(32)))
    assert 0.95 < np.mean(ratios) < 1.2


def test_rare_large_values_move_the_interval_up():
    values = np.random.default_rng(1).normal(1, 0.01, (32, 1))
    values[[5, 20]] += 1
    below, above = doubt_of_mean(values, 0.05)
    assert above > 1.5 * below


def test_what_differs_between_the_places_of_a_period_is_no_doubt():
    values = np.random.default_rng(2).normal(1, 0.01, (8, 4))
    shifted = values + np.array([0.0, 5.0, -3.0, 1.0])
    assert doubt_of_mean(shifted, 0.05) == pytest.approx(doubt_of_mean(values, 0.05))
    assert trend_error(shifted) == pytest.approx(trend_error(values))


def test_a_trend_is_found():
    values = np.random.default_rng(3).normal(1, 0.01, (32, 1))
    assert trend_error(values) > 0.05
    assert trend_error(values + np.linspace(0, 0.1, 32)[:, None]) < 0.001


@given(st.integers(0, 2**20), st.integers(2, 30), st.integers(1, 4), st.floats(1e-6, 1e6))
@settings(max_examples=50, deadline=None)
def test_units_and_the_level_do_not_matter(seed, periods, places, unit):
    values = np.random.default_rng(seed).normal(0, 1, (periods + 2, places))
    doubt, scaled = doubt_of_mean(values, 0.05), doubt_of_mean((values + 10) * unit, 0.05)
    assert scaled == pytest.approx((doubt.below * unit, doubt.above * unit), rel=1e-4)
    assert min(doubt) > 0


@given(st.integers(0, 2**20), st.floats(0.01, 0.5))
@settings(max_examples=30, deadline=None)
def test_less_error_is_more_doubt(seed, error):
    values = np.random.default_rng(seed).normal(0, 1, (20, 1))
    assert sum(doubt_of_mean(values, error / 2)) > sum(doubt_of_mean(values, error))
