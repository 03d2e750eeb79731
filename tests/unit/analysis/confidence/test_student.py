# SPDX-License-Identifier: MIT
"""Quantiles of Student's t and of its relatives."""

import math

import numpy as np
import pytest

from virnuc_profiler.analysis.confidence.student import (
    check_confidence,
    dunnett_critical,
    mixture_half_width,
    mixture_tails,
    two_sided_t,
)


@pytest.mark.parametrize(
    ("degrees", "exact"), [(2, 4.30265), (5, 2.57058), (30, 2.04227), (math.inf, 1.95996), (4.5, 2.65869)]
)
def test_quantiles_are_those_of_the_tables(degrees, exact):
    assert two_sided_t(0.05, degrees) == pytest.approx(exact, rel=1e-4)


def test_a_mixture_of_equal_parts_is_one_distribution():
    weights, scales = np.full(4, 0.25), np.full(4, 3.0)
    assert mixture_half_width(weights, scales, 7, 0.05) == pytest.approx(3 * two_sided_t(0.05, 7), rel=1e-5)
    assert mixture_tails(weights, np.full(4, -two_sided_t(0.05, 7)), 7) == pytest.approx(0.025)


def test_a_mixture_lies_between_its_parts():
    width = mixture_half_width(np.array([0.5, 0.5]), np.array([1.0, 4.0]), 9, 0.05)
    assert two_sided_t(0.05, 9) < width < 4 * two_sided_t(0.05, 9)
    assert width > math.sqrt(1 * 4) * two_sided_t(0.05, 9)  # the wide part decides about the tails


@pytest.mark.parametrize(
    ("samples", "reference", "degrees", "exact"),
    [([4] * 1, 4, 10, 2.228), ([5] * 2, 5, 10, 2.57), ([5] * 4, 5, 20, 2.65), ([5] * 9, 5, 60, 2.77)],
)
def test_critical_values_are_those_of_dunnett(samples, reference, degrees, exact):
    """From the two-sided table of Dunnett (1964) for 5 % and equal numbers of measurements."""
    assert dunnett_critical(np.array(samples), reference, degrees, 0.05) == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.5, math.nan])
def test_a_confidence_that_is_no_probability_is_refused(confidence):
    with pytest.raises(ValueError, match="between 0 and 1"):
        check_confidence(confidence)
