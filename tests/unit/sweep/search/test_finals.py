"""Who stays in the race of a search, and who is chosen."""

import math

from virnuc_profiler.sweep.search.finals import (
    CUTS,
    FINALISTS,
    MAX_BLOCKS,
    affordable_blocks,
    affordable_finalists,
    nearly_best,
    staying,
    trials_of_race,
)
from virnuc_profiler.targets.knobs.configuration import Configuration


def test_of_equals_the_price_decides_and_not_of_others():
    cheap, dear, worse = (Configuration(workers, 4, 4096, 2000) for workers in (1, 8, 2))
    near = nearly_best({dear: [100.0] * 5, cheap: [99.7] * 5, worse: [90.0] * 5})
    assert set(near) == {cheap, dear}


def test_a_burst_of_other_work_does_not_hide_a_fast_configuration():
    fast, slow = Configuration(1), Configuration(2)
    assert nearly_best({fast: [100.0, 99.5, 62.0, 100.5, 100.0], slow: [95.0] * 5}) == [fast]


def test_the_luckiest_of_unsteady_configurations_is_not_preferred_to_a_steady_one():
    steady, unsteady = Configuration(1), Configuration(2)
    assert nearly_best({steady: [100.0, 100.2, 99.8, 100.0], unsteady: [85.0, 118.0, 112.0, 92.0]}) == [steady]


def test_half_leave_at_each_cut_and_nobody_between():
    rates = {Configuration(workers): [100.0 + workers] * 3 for workers in range(8)}
    assert staying(rates, 3) == [Configuration(workers) for workers in (4, 5, 6, 7)]
    assert staying(rates, 4) == list(rates)
    assert list(CUTS.values()) == [4, 2]


def test_a_race_is_as_long_as_the_time_suffices_for():
    whole = trials_of_race(FINALISTS, MAX_BLOCKS)
    assert whole == 3 * 9 + 4 * 5 + 9 * 3
    assert affordable_blocks(FINALISTS, whole) == affordable_blocks(FINALISTS, math.inf) == MAX_BLOCKS
    assert affordable_blocks(FINALISTS, whole - 1) == MAX_BLOCKS - 1
    assert affordable_finalists(FINALISTS, math.inf) == FINALISTS
    assert affordable_finalists(FINALISTS, 25) == 4
    assert affordable_finalists(FINALISTS, 3) == 1
    assert affordable_finalists(0, 100) == 0
