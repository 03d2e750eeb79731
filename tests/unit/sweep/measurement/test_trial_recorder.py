# SPDX-License-Identifier: MIT
"""A measurement that something disturbed is discarded and repeated, twice at most."""

import pytest

from tests.support.sweeps import FakeTrials, Recorder, fake_sweep, run_in_journal, small_plan, success
from virnuc_profiler.reports.sweep_tables import render_step
from virnuc_profiler.sweep.measurement.trial_recorder import COOLING_S
from virnuc_profiler.sweep.results.journal import read_journal
from virnuc_profiler.sweep.results.result import OTHER_PROCESS_SHARE
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration

GRID = {"num_workers": (2,), "prefetch_factor": (2,)}
CHOSEN = Configuration(2, 2)


def shared_device(config):
    return success(config, 40.0, outcome="ok", evidence={OTHER_PROCESS_SHARE: 0.5})


def hot(config):
    return success(config, 60.0, outcome="throttled", evidence={"held_down_share": 0.5, "reasons": {"hw_thermal": 0.5}})


def stopped(config):
    return success(config, 1.0, outcome="interrupted", evidence={"stopped_sec": 15.0})


class Disturbed(FakeTrials):
    """Trials of one configuration that are disturbed a number of times."""

    def __init__(self, result_of, count):
        super().__init__()
        left = [count]

        def result(config):
            if config == CHOSEN and left[0]:
                left[0] -= 1
                return result_of(config)
            return success(config)

        self.result_of = result


class Listener(Recorder):
    def trial_repeated(self, step, result, reasons):
        self.events.append(("repeated", step, *reasons))


@pytest.mark.parametrize("disturbance", [shared_device, hot, stopped])
def test_a_disturbed_measurement_is_cooled_and_repeated(tmp_path, disturbance):
    pauses, listener = [], Listener()
    sweep = fake_sweep(tmp_path, Disturbed(disturbance, 1), grid=GRID, pause=pauses.append, listener=listener)
    _, document = sweep.run(["baseline", "dataloader"])
    assert pauses == [COOLING_S]
    (result,) = document.results
    assert (result.sequences_per_sec, result.standing.doubts) == (100.0, ())
    assert [event[0] for event in listener.events].count("repeated") == 1
    assert [event[0] for event in listener.events].count("finished") == 2
    first, second = read_journal(tmp_path)[-1].trials[1:]
    assert (first.attempt, second.attempt) == (0, 1)
    assert first.doubts
    assert not second.doubts
    assert first.result.telemetry_path != second.result.telemetry_path


def test_after_three_attempts_it_is_flagged_and_stands(tmp_path):
    trials = Disturbed(shared_device, 9)
    _, document = fake_sweep(tmp_path, trials, grid=GRID).run(["baseline", "dataloader"])
    assert trials.configurations.count(CHOSEN) == 3
    (result,) = document.results
    assert result.standing.doubts == ("other processes took 50% of the device's time",)
    assert "Disturbed each time they were measured:\n  num_workers=2, prefetch_factor=2 (other" in render_step(document)


def test_a_condition_that_does_not_go_away_is_repeated_once_and_then_taken_for_one(tmp_path):
    trials = FakeTrials(hot)
    grid = {"num_workers": (2, 8), "prefetch_factor": (2,)}
    fake_sweep(tmp_path, trials, grid=grid).run(["baseline", "dataloader"])
    assert trials.configurations == [BASELINE] * 3 + [CHOSEN, Configuration(8, 2)]


def test_an_interrupted_measurement_never_stands_so_resume_measures_it_again(tmp_path):
    run_in_journal(tmp_path, Disturbed(stopped, 9), begin=small_plan(("baseline", "dataloader")))
    trials = FakeTrials()
    documents = run_in_journal(tmp_path, trials)
    assert trials.configurations == [CHOSEN]
    assert documents[-1].results[0].sequences_per_sec == 100.0
    assert [trial.attempt for trial in read_journal(tmp_path)[-1].trials if trial.configuration == CHOSEN] == [
        0,
        1,
        2,
        3,
    ]
