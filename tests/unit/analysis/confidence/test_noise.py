# SPDX-License-Identifier: MIT
"""Pooled noise, and intervals of configurations that were measured once."""

import math

import numpy as np
import pytest

from virnuc_profiler.analysis.confidence.noise import Noise, compare_with_reference, pooled_noise
from virnuc_profiler.analysis.confidence.paired import CANNOT_TELL, SAME


def test_noise_is_pooled_over_repeated_measurements():
    found = pooled_noise({"a": [100, 100 * math.e], "b": [5, 5, 5], "c": [7]})
    assert found == Noise(pytest.approx(math.sqrt(0.5 / 3)), 3)
    assert pooled_noise({"a": [1], "b": [2]}) is None


def test_intervals_are_those_of_dunnett():
    from scipy import stats

    random = np.random.default_rng(4)
    measured = {name: np.exp(random.normal(0, 0.05, 4)) for name in "abcd"}
    logs = [np.log(measured[name]) for name in "bcd"]
    expected = stats.dunnett(*logs, control=np.log(measured["a"])).confidence_interval(0.95)
    found = compare_with_reference(measured, "a")
    assert list(found) == ["b", "c", "d"]
    assert [math.log(one.low) for one in found.values()] == pytest.approx(expected.low, abs=0.002)  # SciPy's is random
    assert [math.log(one.high) for one in found.values()] == pytest.approx(expected.high, abs=0.002)


def test_a_single_measurement_is_the_same_or_cannot_be_told():
    measured = {"a": [100.0, 100.2, 99.9], "b": [100.1], "c": [150.0], "d": [99.0, 99.2]}
    found = compare_with_reference(measured, "a")
    assert {name: one.verdict for name, one in found.items()} == {"b": SAME, "c": CANNOT_TELL, "d": SAME}
    assert found["c"].low > 1.4
    assert (found["b"].blocks, found["d"].blocks) == (1, 2)


def test_without_repeats_there_is_no_interval():
    found = compare_with_reference({"a": [100.0], "b": [101.0]}, "a")["b"]
    assert (found.verdict, found.ratio, found.low) == (CANNOT_TELL, pytest.approx(1.01), None)


def test_without_noise_the_interval_has_no_width():
    found = compare_with_reference({"a": [100.0] * 5, "b": [101.0]}, "a")["b"]
    assert (found.verdict, found.low, found.high) == (SAME, pytest.approx(1.01), pytest.approx(1.01))


def test_all_intervals_contain_the_truth_at_once():
    random = np.random.default_rng(5)
    right = 0
    for _ in range(100):
        measured = {"base": 100 * np.exp(random.normal(0, 0.02, 6))}
        measured |= {str(number): 100 * np.exp(random.normal(0, 0.02, 1)) for number in range(8)}
        right += all(one.low <= 1 <= one.high for one in compare_with_reference(measured, "base").values())
    assert right >= 89  # 95 are expected; fewer would come in 1 % of seeds


def test_a_reference_that_was_not_measured_is_refused():
    with pytest.raises(ValueError, match="reference x"):
        compare_with_reference({"a": [1.0]}, "x")
