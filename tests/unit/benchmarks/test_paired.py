# SPDX-License-Identifier: MIT
"""The statistics behind what is claimed about overhead."""

import math

import numpy as np
import pytest
from benchmarks.paired import bare_goes_first, ratio_of_pairs, t_quantile
from benchmarks.run_overhead import verdict


def test_the_order_cancels_linear_and_quadratic_drift() -> None:
    places = {"bare": [], "profiled": []}
    for pair in range(8):
        first, second = ("bare", "profiled") if bare_goes_first(pair) else ("profiled", "bare")
        places[first].append(2 * pair)
        places[second].append(2 * pair + 1)
    assert [bare_goes_first(pair) for pair in range(4)] == [True, False, False, True]
    for power in (1, 2):
        assert sum(x**power for x in places["bare"]) == sum(x**power for x in places["profiled"])


@pytest.mark.parametrize(
    ("degrees", "exact"), [(2, 4.30265), (3, 3.18245), (5, 2.57058), (9, 2.26216), (30, 2.04227), (1000, 1.96234)]
)
def test_quantiles_of_t_are_those_of_the_tables(degrees: int, exact: float) -> None:
    assert t_quantile(0.975, degrees) == pytest.approx(exact, rel=0.01 if degrees < 5 else 2e-4)


def test_a_ratio_known_by_hand() -> None:
    ratio = ratio_of_pairs([2.0**n for n in range(1, 7)], [1.0] * 6)
    # log2: mean 3.5, standard deviation sqrt(3.5), t = 2.571 with five degrees of freedom
    assert math.log2(ratio.mean) == pytest.approx(3.5)
    assert math.log2(ratio.mean_high) == pytest.approx(3.5 + 2.571 * math.sqrt(3.5 / 6), rel=0.01)
    assert math.log2(ratio.mean_low) == pytest.approx(3.5 - 2.571 * math.sqrt(3.5 / 6), rel=0.01)
    # Six pairs leave no interval but from the least to the greatest: P(all on one side) = 2 / 64.
    assert [math.log2(value) for value in (ratio.low, ratio.typical, ratio.high)] == pytest.approx([1, 3.5, 6])
    assert ratio.pairs == 6


def test_a_burst_of_noise_moves_the_typical_ratio_little() -> None:
    calm = [1.001 + 0.0001 * (i % 7) for i in range(40)]
    ratio = ratio_of_pairs([*calm[:-2], 1.5, 0.4], [1.0] * 40)
    assert ratio.typical == pytest.approx(1.0013, abs=2e-4)
    assert 1.0 < ratio.low < ratio.typical < ratio.high < 1.002
    assert abs(ratio.mean - 1.0013) > 0.005


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    covered = {"typical": 0, "mean": 0}
    for _ in range(400):
        bare = np.exp(random.normal(0, 0.01, 20))
        profiled = 1.005 * np.exp(random.normal(0, 0.01, 20))
        ratio = ratio_of_pairs(profiled.tolist(), bare.tolist())
        covered["typical"] += ratio.low <= 1.005 <= ratio.high
        covered["mean"] += ratio.mean_low <= 1.005 <= ratio.mean_high
    assert all(0.92 < count / 400 < 0.98 for count in covered.values()), covered


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 6 pairs, not 5"):
        ratio_of_pairs([1.0] * 5, [1.0] * 5)


@pytest.mark.parametrize(
    ("profiled", "claimed", "expected"),
    [
        ([1.0, 1.001, 1.002], 1.005, "PASS: "),
        ([1.0, 1.004, 1.008], 1.005, "PASS, but not settled"),
        ([1.006, 1.0061, 1.0062], 1.005, "FAIL"),
        ([0.99, 1.007, 1.022], 1.005, "FAIL"),  # the smallest model has no way out through noise
        ([0.99, 1.003, 1.016], 1.001, "PASS, but not settled"),  # not distinguishable from 1
        ([1.003, 1.0031, 1.0032], 1.001, "FAIL"),
        ([1.0, 2.0, 4.0], None, "x2.0000; nothing is claimed"),
    ],
)
def test_verdicts(profiled: list[float], claimed: float | None, expected: str) -> None:
    assert verdict(ratio_of_pairs(profiled * 2, [1.0] * 6), claimed).startswith(expected)
