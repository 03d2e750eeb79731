# SPDX-License-Identifier: MIT
"""The race of a confirmation, replayed from trials, and what follows from it."""

import json
import random

import pytest

from tests.support.sweeps import failure, success, trial
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.results.verdicts.confirmation import Confirmation, Contenders
from virnuc_profiler.sweep.results.verdicts.race_replay import Allowance, Replay, allowance_of, within
from virnuc_profiler.sweep.results.verdicts.recommendation import conclude
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration

WINNER, RUNNER_UP = Configuration(8), Configuration(2)
ALL = Contenders(WINNER, RUNNER_UP, BASELINE)
ENOUGH = Allowance(100.0, 1.0)


def replayed(count, *, contenders=ALL, allowance=None, noise=0.001, seed=0, **factors):
    """The race after a number of blocks on a machine that drifts, in which `factors` are true speeds by role."""
    rng = random.Random(seed)
    speed = {WINNER: factors.get("winner", 1.0), RUNNER_UP: factors.get("runner_up", 1.0), BASELINE: 1.0}
    trials = []
    for block in range(count):
        drift = rng.uniform(0.8, 1.2)
        for config in contenders.all:
            rate = 100 * drift * speed[config] * (1 + rng.gauss(0, noise))
            trials.append(trial(config, rate, "confirmation", block))
    return Replay(contenders, allowance or Allowance(max(5.0, count) * len(contenders.all), 1.0), trials, Objective())


def concluded(replay, memory=None, allowed=ALL.all):
    return conclude(replay, replay.allowance, memory or {}, allowed)


def test_what_is_truly_faster_is_confirmed_with_an_interval():
    replay = replayed(5, winner=1.1)
    assert replay.race.finished
    assert replay.missing() == []
    found = concluded(replay)
    assert (found.verdict, found.recommended, found.blocks) == ("better", WINNER, 5)
    assert found.comparisons[WINNER].low < 1.1 < found.comparisons[WINNER].high
    assert found.comparisons[RUNNER_UP].verdict == "same"


def test_of_two_that_are_better_and_tied_the_cheaper_one_is_recommended():
    found = concluded(replayed(5, winner=1.1, runner_up=1.1))
    assert (found.verdict, found.recommended) == ("better", RUNNER_UP)  # two workers instead of eight


def test_equal_ones_are_tied_after_three_blocks_and_the_cheapest_is_recommended():
    replay = replayed(3)
    assert replay.missing() == []
    found = concluded(replay)
    assert (found.verdict, found.recommended) == ("tied", RUNNER_UP)
    dearer = Contenders(WINNER, None, BASELINE)
    assert concluded(replayed(3, contenders=dearer)).recommended == BASELINE
    less_memory = {WINNER: 5.0, RUNNER_UP: 5.0, BASELINE: 6.0}
    assert concluded(replayed(3), less_memory).recommended == RUNNER_UP


def test_noise_that_hides_the_truth_leaves_the_baseline():
    found = concluded(replayed(5, winner=1.05, noise=0.08))
    assert (found.verdict, found.recommended) == ("cannot_tell", BASELINE)
    assert found.comparisons[WINNER].low < 1 < found.comparisons[WINNER].high


def test_what_misses_a_constraint_that_others_keep_is_not_recommended():
    assert concluded(replayed(3), allowed=(WINNER, BASELINE)).recommended == BASELINE


def test_a_block_that_has_begun_is_finished_even_if_the_time_is_used_up():
    allowance = Allowance(9.0, 0.5)  # its trials take twice as long as was expected
    replay = replayed(3, allowance=allowance, winner=1.1)
    assert not replay.race.finished
    assert replay.missing() == []
    begun = [trial(one, 100.0, "confirmation", block) for block in range(3) for one in ALL.all]
    begun.append(trial(WINNER, 130.0, "confirmation", 3))
    begun[0] = trial(WINNER, 130.0, "confirmation", 0)  # so that three blocks are no tie
    unfinished = Replay(ALL, allowance, begun, Objective())
    assert (unfinished.block, unfinished.missing()) == (3, [RUNNER_UP, BASELINE])


def test_an_interrupted_trial_is_missing_still():
    stopped = trial(WINNER, step="confirmation", result=success(WINNER, 1.0, outcome="interrupted"))
    replay = Replay(ALL, ENOUGH, [stopped, trial(BASELINE, 100.0, "confirmation")], Objective())
    assert replay.missing() == [WINNER, RUNNER_UP]


@pytest.mark.parametrize(
    ("blocks_of_three", "entrants"),
    [(5, ALL.all), (4, (WINNER, BASELINE)), (2, (WINNER, BASELINE)), (1, None)],
)
def test_the_runner_up_races_only_where_time_suffices(blocks_of_three, entrants):
    found = within(ALL, Allowance(3.0 * blocks_of_three, 1.0))
    assert (None if found is None else found.all) == entrants


def test_there_is_no_race_of_one():
    assert within(Contenders(BASELINE, None, BASELINE), ENOUGH) is None


def test_the_time_is_a_third_of_that_of_the_steps_and_brief_trials_have_no_pause():
    result = success(WINNER, measured_sec=3.0, passes=6)
    grid = [trial(WINNER, took_sec=6.0, result=result), trial(Configuration(4, 2), took_sec=14.0)]
    found = allowance_of(grid, ALL, 2.0)
    assert found.allowed_sec == pytest.approx(20 / 3)
    assert found.trial_sec == pytest.approx((6.0 - 2.0) / 3)  # without the pause, and one second of three
    assert allowance_of([trial(WINNER, took_sec=None)], ALL, "auto").allowed_sec == pytest.approx(20 / 3)


def test_equal_ones_are_called_different_in_less_than_five_percent_of_races():
    wrong = sum(concluded(replayed(10, noise=0.02, seed=seed)).verdict == "better" for seed in range(200))
    assert wrong <= 10


def test_it_survives_its_file():
    found = concluded(replayed(5, winner=1.1))
    assert Confirmation.from_json(json.loads(json.dumps(found.to_json()))) == found
    nothing = conclude(None, Allowance(1.0, 1.0), {}, ())
    assert Confirmation.from_json(nothing.to_json()) == nothing
    assert Confirmation.from_json(None) is None
    with pytest.raises(TelemetryFormatError, match="its confirmation cannot be read"):
        Confirmation.from_json({**found.to_json(), "leaders": 5})


def test_a_failure_does_not_count_as_a_speed():
    bad = trial(WINNER, step="confirmation", result=failure(WINNER))
    assert Replay(ALL, ENOUGH, [bad], Objective()).missing() == list(ALL.all)
