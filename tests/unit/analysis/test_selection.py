# SPDX-License-Identifier: MIT
from dataclasses import dataclass

import pytest

from virnuc_profiler.analysis.selection import select_best


@dataclass(frozen=True)
class Measured:
    sequences_per_sec: float | None
    packing_efficiency: float | None = 0.95
    succeeded: bool = True
    throttled: bool = False
    interrupted: bool = False
    name: str = ""


def test_the_fastest_successful_one():
    results = [Measured(10), Measured(30), Measured(99, succeeded=False), Measured(20)]
    selection = select_best(results)
    assert selection.best is results[1]
    assert selection.constraint_met


def test_the_fastest_that_keeps_the_constraint():
    results = [Measured(30, 0.80), Measured(20, 0.90), Measured(10, 0.99)]
    selection = select_best(results, min_packing=0.90)
    assert selection.best is results[1]
    assert selection.constraint_met


def test_where_none_keeps_it_the_fastest_without_it_and_said_so():
    results = [Measured(10, 0.85), Measured(30, 0.80), Measured(20, None)]
    selection = select_best(results, 0.90)
    assert selection.best is results[1]
    assert not selection.constraint_met


def test_ties_go_to_the_first_in_the_grid():
    results = [Measured(5), Measured(30, name="a"), Measured(30, name="b")]
    assert select_best(results).best.name == "a"


@pytest.mark.parametrize("rate", [None, float("nan"), float("inf")])
def test_no_number_never_wins(rate):
    results = [Measured(rate), Measured(1)]
    assert select_best(results).best is results[1]
    assert select_best([Measured(rate)]).best is None


@pytest.mark.parametrize("results", [[], [Measured(1, succeeded=False)]])
def test_nothing_to_choose_from(results):
    selection = select_best(results, 0.9)
    assert selection.best is None
    assert not selection.constraint_met


def test_an_interrupted_one_never_wins_not_even_alone():
    interrupted, other = Measured(30, interrupted=True), Measured(10, throttled=True)
    assert select_best([interrupted, other]).best is other
    assert select_best([interrupted]).best is None
