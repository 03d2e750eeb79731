# SPDX-License-Identifier: MIT
"""The configurations that no other one beats, and the cheapest of equals."""

from virnuc_profiler.sweep.plan.cheapest import cheapest
from virnuc_profiler.sweep.results.verdicts.pareto import Tradeoff, pareto_set
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration

FAST, FRUGAL, WORSE = Configuration(8), Configuration(2), Configuration(16)


def test_what_another_one_beats_in_everything_is_left_out():
    found = pareto_set(
        [Tradeoff(WORSE, 11.0, 3.0, 6.0), Tradeoff(FRUGAL, 12.0, 1.0, 5.0), Tradeoff(FAST, 10.0, 2.0, 6.0)]
    )
    assert [one.configuration for one in found] == [FAST, FRUGAL]


def test_a_quantity_that_some_lack_does_not_count():
    found = pareto_set([Tradeoff(FAST, 10.0, None, None), Tradeoff(FRUGAL, 12.0, 1.0, None)])
    assert [one.configuration for one in found] == [FAST]
    assert pareto_set([Tradeoff(FAST, None, 1.0, 1.0)]) == []


def test_of_equals_the_first_stays():
    found = pareto_set([Tradeoff(FAST, 1.0, None, 1.0), Tradeoff(WORSE, 1.0, None, 1.0)])
    assert [one.configuration for one in found] == [FAST]


def test_workers_cost_more_than_memory_and_memory_more_than_buffers():
    assert cheapest([FAST, BASELINE, FRUGAL], {FRUGAL: 50.0}) == FRUGAL
    small = Configuration(token_budget=2048)
    assert cheapest([BASELINE, small], {BASELINE: 5.85, small: 5.78}) == small
    buffered = Configuration(buffer_size=500)
    assert cheapest([BASELINE, buffered], {BASELINE: 5.851, buffered: 5.849}) == buffered
