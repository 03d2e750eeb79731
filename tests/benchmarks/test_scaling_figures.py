# SPDX-License-Identifier: MIT
"""Figures of several cards, from turns and vectors that are made up."""

import numpy as np
import pytest
from benchmarks.scaling_jobs import differences
from benchmarks.scaling_turns import Turn, kept_share, rows_of
from benchmarks.scaling_worker import Reading


def turn(number, card, busy, rate):
    reading = Reading("GPU-1", rate, None, None, 30.0, 600.0, 1500.0, 60, {}, 1.5, "compute", "The device is busy.")
    return Turn(number, card, busy, reading)


def two_busy(rates):
    """Return turns of card 0: its rate alone and beside another, in each round."""
    return [turn(each, 0, 1 + place, rate) for each, pair in enumerate(rates) for place, rate in enumerate(pair)]


def test_a_card_is_compared_with_itself_in_the_same_round():
    rates = [(1000 * drift, 930 * drift) for drift in (1.0, 0.5, 0.8)]  # of the whole machine, from round to round
    share, half = kept_share(two_busy(rates), 0, 2)
    assert share == pytest.approx(0.93)
    assert half == pytest.approx(0.0, abs=1e-9)


def test_the_interval_is_that_of_a_t_distribution():
    share, half = kept_share(two_busy([(100, 90), (100, 95), (100, 92)]), 0, 2)
    logs = np.log([0.90, 0.95, 0.92])
    assert share == pytest.approx(np.exp(logs.mean()))
    assert half == pytest.approx(share * 4.302653 * logs.std(ddof=1) / 3**0.5, rel=1e-5)


def test_one_round_has_no_interval_and_a_turn_without_a_rate_no_share():
    assert kept_share([turn(0, 0, 1, 100.0), turn(0, 0, 2, 90.0)], 0, 2) == (pytest.approx(0.9), np.inf)
    assert kept_share([turn(0, 0, 1, None), turn(0, 0, 2, 90.0)], 0, 2) is None


def test_each_card_has_a_row_for_each_number_of_busy_cards():
    turns = [turn(0, card, busy, 100.0) for card in (0, 1) for busy in (1, 2)]
    assert [row[:2] for row in rows_of(turns)] == [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")]


def test_vectors_of_two_jobs_are_compared():
    vectors = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    assert differences(vectors, vectors) == {"missing": 0.0, "equal_share": 1.0, "lowest_cosine": pytest.approx(1.0)}
    other = vectors.copy()
    other[3] = -other[3]
    assert differences(other, vectors)["lowest_cosine"] == pytest.approx(-1.0)
    assert differences(vectors[:-2], vectors) == {"missing": 2.0}
