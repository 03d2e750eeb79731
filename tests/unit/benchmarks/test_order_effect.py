# SPDX-License-Identifier: MIT
"""The effect of the place of a trial, from rates whose effect is known."""

import numpy as np
import pytest
from benchmarks.order_effect import GRID, effect_of_going_first, effect_of_place, verdict


def sweeps(slope, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    levels = {one: 1000.0 * (1 + 0.05 * number) for number, one in enumerate(GRID)}
    found = []
    for number in range(3):
        order = rng.permutation(len(GRID))
        rates = [
            levels[GRID[which]] * (1 + 0.1 * number) * np.exp(slope * place / (len(GRID) - 1) + noise * rng.normal())
            for place, which in enumerate(order)
        ]
        found.append([(GRID[which], rate) for which, rate in zip(order, rates, strict=True)])
    return found


def test_an_effect_without_noise_is_found_exactly():
    effect, half_width = effect_of_place(sweeps(0.08))
    assert effect == pytest.approx(np.expm1(0.08), abs=1e-9)
    assert half_width == pytest.approx(0, abs=1e-9)


def test_the_interval_contains_the_truth_as_often_as_it_says():
    found = [effect_of_place(sweeps(0.0, noise=0.02, seed=seed)) for seed in range(200)]
    assert 180 <= sum(abs(effect) <= half_width for effect, half_width in found) <= 199


def test_a_trial_without_a_rate_is_left_out():
    first, *others = sweeps(0.08)
    first[3] = (first[3][0], None)
    assert effect_of_place([first, *others])[0] == pytest.approx(np.expm1(0.08), abs=1e-9)


def test_a_cold_first_trial_is_found():
    cold = [[(one, rate * (0.9 if place == 0 else 1.0)) for place, (one, rate) in enumerate(one_sweep)]
            for one_sweep in sweeps(0.0)]  # fmt: skip
    assert effect_of_going_first(cold)[0] == pytest.approx(-0.1, abs=1e-9)


def test_a_claim_holds_only_if_the_whole_interval_does():
    assert verdict(0.002, 0.005) == "holds"
    assert verdict(-0.05, 0.01) == "does not hold"
    assert verdict(0.005, 0.03) == "can be neither held nor refuted"
