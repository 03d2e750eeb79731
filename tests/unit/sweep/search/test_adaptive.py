"""The engine on machines of known rates, with a clock that is part of them."""

import itertools
import math

import pytest
from benchmarks.search_replay import search

from virnuc_profiler.analysis.confidence.paired import FASTER
from virnuc_profiler.sweep.search import adaptive
from virnuc_profiler.sweep.search.adaptive import TRIALS, Limits, Measurement, next_trial
from virnuc_profiler.sweep.search.finals import FINALISTS, MAX_BLOCKS, trials_of_race
from virnuc_profiler.sweep.search.space import build_space
from virnuc_profiler.targets.knobs.configuration import BASELINE

SPACE = build_space(workers=8, largest_budget=65_536, tokens=4_300_000, num_sequences=20_000, longest_tokens=1000)


@pytest.fixture(autouse=True)
def proposals(monkeypatch):
    """Walk through the space in place of Optuna, which is tested elsewhere."""
    monkeypatch.setattr(
        adaptive,
        "propose",
        lambda space, found, seed: space.configurations[(101 * len(found)) % len(space.configurations)],
    )


class Machine:
    """Rates that grow with the budget and with up to four workers; a trial takes `seconds`."""

    def __init__(self, seconds=1.0, fails=lambda one: False):
        self.seconds, self.fails = seconds, fails
        self.measured = []
        self.noise = itertools.cycle((0.004, -0.003, 0.001, -0.004, 0.002))

    def rate(self, one):
        return 1000 * one.token_budget / (one.token_budget + 4000) * min(one.num_workers + 1, 5) / 5

    def __call__(self, one):
        self.measured.append(one)
        failed = self.fails(one)
        return Measurement(None if failed else self.rate(one) * math.exp(next(self.noise)), self.seconds)


def test_it_ends_near_the_best_and_says_by_how_much_it_beats_the_baseline():
    machine = Machine()
    found = search(SPACE, machine, seed=1)
    assert machine.rate(found.configuration) > 0.98 * max(map(machine.rate, SPACE.configurations))
    assert found.comparison.verdict == FASTER
    truth = machine.rate(found.configuration) / machine.rate(BASELINE)
    assert found.comparison.low <= truth <= found.comparison.high


def test_trials_and_race_keep_their_numbers():
    machine = Machine()
    found = search(SPACE, machine, seed=1)
    assert len(found.trials) == TRIALS
    assert 0 < found.race_trials <= trials_of_race(FINALISTS, MAX_BLOCKS)
    assert len(machine.measured) == TRIALS + found.race_trials
    assert found.trials[0][0] == BASELINE


def test_nothing_outside_the_space_is_tried():
    machine = Machine()
    search(SPACE, machine, seed=2)
    assert set(machine.measured) <= {BASELINE, *SPACE.configurations}


def test_the_next_trial_follows_from_the_past_alone():
    found = search(SPACE, Machine(), seed=3)
    for number in range(TRIALS):
        again = next_trial(SPACE, found.trials[:number], limits=Limits(), seed=3)
        assert again == found.trials[number][0]
    assert next_trial(SPACE, found.trials, limits=Limits(), seed=3) is None


@pytest.mark.parametrize("minutes", [1, 2, 5])
def test_a_limit_of_time_is_kept(minutes):
    found = search(SPACE, Machine(seconds=3.0), limits=Limits(seconds=60 * minutes), seed=1)
    assert found.seconds <= 60 * minutes
    assert found.configuration is not None
    assert found.race_trials > 0


def test_configurations_that_fail_are_not_tried_again_and_never_win():
    machine = Machine(fails=lambda one: one.token_budget > 30_000)
    found = search(SPACE, machine, seed=1)
    failed = [one for one in machine.measured if one.token_budget > 30_000]
    assert len(set(failed)) == len(failed)
    assert found.configuration.token_budget <= 30_000


def test_where_everything_fails_nothing_is_recommended_as_better():
    found = search(SPACE, Machine(fails=lambda one: True), limits=Limits(trials=6), seed=1)
    assert found.comparison is None
