# SPDX-License-Identifier: MIT
"""The end of a warm-up."""

import numpy as np
import pytest

from virnuc_profiler.analysis.confidence.transient import warm_up_length


def noise(count=200, seed=1):
    return np.random.default_rng(seed).normal(1, 0.02, count)


def test_equal_values_have_no_warm_up():
    assert warm_up_length(np.ones(100)) == 0


@pytest.mark.parametrize("slow", [1, 5, 30])
def test_slow_values_at_the_beginning_are_the_warm_up(slow):
    values = noise()
    values[:slow] += 0.5
    assert slow <= warm_up_length(values) <= 2 * slow + 2


def test_fast_values_at_the_beginning_are_a_warm_up_too():
    values = noise()
    values[:20] -= 0.2
    assert 20 <= warm_up_length(values) <= 42


def test_a_warm_up_of_more_than_half_never_ends():
    values = noise() + np.exp(-np.arange(200) / 60)
    assert warm_up_length(values) is None


@pytest.mark.parametrize("begin", [120, 150, 195])
def test_slow_values_in_the_second_half_are_no_warm_up(begin):
    values = noise()
    values[begin : begin + 5] += 0.5
    assert warm_up_length(values) == 0
