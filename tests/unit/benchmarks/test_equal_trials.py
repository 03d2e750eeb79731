# SPDX-License-Identifier: MIT
"""Verdicts on pairs of equal trials, and on pairs of which one was slowed down."""

import numpy as np
from benchmarks.equal_trials import cells, verdicts

from virnuc_profiler.analysis.confidence.paired import SAME, SLOWER


def rates(noise, count=400):
    return list(1000 * np.exp(noise * np.random.default_rng(7).normal(size=count)))


def test_quiet_trials_are_the_same():
    found = verdicts(rates(0.002), slowdown=0.0)
    assert len(found) > 20
    assert {verdict for verdict, _ in found} == {SAME}


def test_a_slowdown_is_found_in_quiet_trials():
    assert {verdict for verdict, _ in verdicts(rates(0.002), slowdown=0.05)} == {SLOWER}


def test_trials_that_suffice_for_no_comparison_give_none():
    assert verdicts(rates(0.002, count=4), slowdown=0.0) == []


def test_the_cells_add_up():
    assert cells([(SAME, 3), (SLOWER, 5)]) == ["2", "1 (50.0%)", "1 (50.0%)", "0 (0.0%)", "4.0"]
