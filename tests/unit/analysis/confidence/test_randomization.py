# SPDX-License-Identifier: MIT
"""Randomization tests."""

import numpy as np
import pytest

from virnuc_profiler.analysis.confidence.randomization import permutation_error, sign_flip_error


@pytest.mark.parametrize(
    ("differences", "share"), [([1.0] * 6, 2 / 64), ([1, 2, 3, -0.5], 4 / 16), ([1, -1], 1), ([0, 0, 0], 1), ([7], 1)]
)
def test_signs_known_by_hand(differences, share):
    assert sign_flip_error(np.array(differences, float)) == pytest.approx(share)


@pytest.mark.parametrize(
    ("ours", "theirs", "share"), [([1, 2, 3], [4, 5, 6], 2 / 20), ([1], [1, 1], 1), ([5] * 5, [1] * 5, 2 / 252)]
)
def test_permutations_known_by_hand(ours, theirs, share):
    assert permutation_error(np.array(ours, float), np.array(theirs, float)) == pytest.approx(share)


def test_many_measurements_are_rearranged_at_random():
    random = np.random.default_rng(1)
    differences = random.normal(0.3, 1, 40)
    exact = sign_flip_error(differences)
    assert 0 < exact < 1
    assert sign_flip_error(np.abs(differences)) == 1 / 4096
    assert permutation_error(np.arange(30.0), 100 + np.arange(30.0)) == 1 / 4096


@pytest.mark.parametrize("count", [8, 20])
def test_equal_configurations_rarely_differ_whatever_the_noise(count):
    """At most 5 % of 2,000 tries, within three standard errors, for noise that is far from normal."""
    random = np.random.default_rng([2, count])
    low = 0
    for _ in range(2000):
        ours, theirs = random.integers(0, 2, (2, count)) + random.standard_cauchy((2, count)) * 0.01
        low += sign_flip_error(ours - theirs) <= 0.05
    assert low <= 2000 * 0.05 + 3 * np.sqrt(2000 * 0.05 * 0.95)
