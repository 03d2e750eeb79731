# SPDX-License-Identifier: MIT
import pytest

from virnuc_profiler.analysis.selection import select_best


def result(rate, packing=0.95, status="success", **more):
    return {"status": status, "sequences_per_sec": rate, "packing_efficiency": packing, **more}


def test_the_fastest_successful_one():
    results = [result(10), result(30), result(99, status="failed"), result(20)]
    selection = select_best(results)
    assert selection.best is results[1]
    assert selection.constraint_met


def test_the_fastest_that_keeps_the_constraint():
    results = [result(30, 0.80), result(20, 0.90), result(10, 0.99)]
    selection = select_best(results, min_packing=0.90)
    assert selection.best is results[1]
    assert selection.constraint_met


def test_where_none_keeps_it_the_fastest_without_it_and_said_so():
    results = [result(10, 0.85), result(30, 0.80), result(20, None)]
    selection = select_best(results, 0.90)
    assert selection.best is results[1]
    assert not selection.constraint_met


def test_ties_go_to_the_first_in_the_grid():
    results = [result(5), result(30, name="a"), result(30, name="b")]
    assert select_best(results).best["name"] == "a"


@pytest.mark.parametrize("rate", [None, float("nan"), float("inf"), "fast", True])
def test_no_number_never_wins(rate):
    results = [result(rate), result(1)]
    assert select_best(results).best is results[1]
    assert select_best([result(rate)]).best is None


def test_failed_results_have_few_keys():
    results = [{"status": "failed", "reason": "OOM"}, result(1)]
    assert select_best(results, 0.9).best is results[1]


@pytest.mark.parametrize("results", [[], [{"status": "failed"}]])
def test_nothing_to_choose_from(results):
    selection = select_best(results, 0.9)
    assert selection.best is None
    assert not selection.constraint_met


def test_another_key():
    results = [result(1, tokens_per_sec=9), result(2, tokens_per_sec=3)]
    assert select_best(results, key="tokens_per_sec").best is results[0]
