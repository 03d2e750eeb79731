# SPDX-License-Identifier: MIT
"""Intervals of paired measurements cover what they say, and too few pairs are refused before anything is measured."""

import argparse
import itertools
import math
import sys

import numpy as np
import pytest
from benchmarks.paired import (
    MIN_PAIRS,
    averages_outside,
    number_of_pairs,
    ratio_of_pairs,
    ratio_of_totals,
)

from benchmarks import run_overhead, supervision_cost


def chance_of_at_most(rank_sum: int, pairs: int) -> float:
    """Of Wilcoxon's signed ranks, by going through all signs."""
    sums = (sum(itertools.compress(range(1, pairs + 1), signs)) for signs in itertools.product((0, 1), repeat=pairs))
    return sum(found <= rank_sum for found in sums) / 2**pairs


@pytest.mark.parametrize("pairs", range(MIN_PAIRS, 13))
def test_the_interval_is_the_narrowest_that_covers_95_percent(pairs: int) -> None:
    outside = averages_outside(pairs)
    assert chance_of_at_most(outside, pairs) <= 0.025 < chance_of_at_most(outside + 1, pairs)


@pytest.mark.parametrize(("pairs", "outside"), [(6, 0), (8, 3), (10, 8), (15, 25), (20, 52), (25, 89), (50, 434)])
def test_what_lies_outside_is_that_of_the_tables(pairs: int, outside: int) -> None:
    assert averages_outside(pairs) == outside  # critical values of the signed-rank test, two-sided 5 %


def test_no_interval_of_five_pairs_covers_95_percent() -> None:
    assert chance_of_at_most(0, MIN_PAIRS - 1) > 0.025
    assert averages_outside(MIN_PAIRS - 1) < 0


def test_six_pairs_give_the_whole_range() -> None:
    ratio = ratio_of_pairs([2.0**power for power in range(6)], [1.0] * 6)
    assert [math.log2(value) for value in (ratio.low, ratio.typical, ratio.high)] == pytest.approx([0, 2.5, 5])


def test_intervals_of_few_pairs_cover_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(7)
    covered = {"typical": 0, "mean": 0, "total": 0}
    for _ in range(1000):
        base, measured = np.exp(random.normal(0, 0.02, (2, MIN_PAIRS)))
        ratio = ratio_of_pairs(measured.tolist(), base.tolist())
        total = ratio_of_totals(measured.tolist(), base.tolist())
        covered["typical"] += ratio.low <= 1 <= ratio.high
        covered["mean"] += ratio.mean_low <= 1 <= ratio.mean_high
        covered["total"] += total.low <= 1 <= total.high
    assert all(count / 1000 > 0.935 for count in covered.values()), covered


def test_a_ratio_of_totals_known_by_hand() -> None:
    total = ratio_of_totals([2.0, 4.0, 6.0, 1.0, 3.0, 2.0], [1.0, 2.0, 3.0, 1.0, 1.0, 1.0])
    assert (total.ratio, total.pairs) == (2.0, 6)  # residuals 0, 0, 0, -1, 1, 0; t = 2.571 with five degrees of freedom
    assert total.high - 2 == pytest.approx(2.571 * math.sqrt(2 / 5) * math.sqrt(6) / 9, rel=1e-3)
    assert 2 - total.low == pytest.approx(total.high - 2)


@pytest.mark.parametrize("ratio_of", [ratio_of_pairs, ratio_of_totals])
def test_lists_without_an_interval_are_refused(ratio_of) -> None:
    with pytest.raises(ValueError, match="95 % needs at least 6 pairs, not 5"):
        ratio_of([1.0] * 5, [1.0] * 5)
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        ratio_of([1.0] * 7, [1.0] * 6)


def test_a_number_of_pairs_is_checked_as_it_is_read() -> None:
    assert number_of_pairs("6") == 6
    with pytest.raises(argparse.ArgumentTypeError, match="at least 6 pairs, not 0"):
        number_of_pairs("0")


@pytest.mark.parametrize(("script", "option"), [(run_overhead, "--pairs"), (supervision_cost, "--trials")])
def test_benchmarks_refuse_too_few_pairs_at_once(script, option: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", option, "5"])
    with pytest.raises(SystemExit):
        script.parse_arguments()
    assert f"argument {option}: an interval of 95 % needs at least 6 pairs, not 5" in capsys.readouterr().err


@pytest.mark.parametrize("script", [run_overhead, supervision_cost])
def test_help_says_how_few_pairs_there_may_be(script, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "--help"])
    with pytest.raises(SystemExit):
        script.parse_arguments()
    assert "at least 6" in " ".join(capsys.readouterr().out.split())


def test_default_numbers_of_pairs_are_enough(monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark"])
    assert run_overhead.parse_arguments().pairs is None
    assert supervision_cost.parse_arguments().trials == 26
    pairs = [count for count, _ in (*run_overhead.PAIRS_AND_SECONDS.values(), run_overhead.OTHERS)]
    assert pairs == [90, 26, 16, 16]
