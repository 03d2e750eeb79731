# SPDX-License-Identifier: MIT
"""The confirmation within a sweep: who races, how long, and what the recommendation becomes."""

import json
from dataclasses import replace

import pytest

from tests.support.sweeps import FakeTrials, failure, fake_sweep, run_in_journal, small_plan, success
from virnuc_profiler.cli.report import render
from virnuc_profiler.reports.sweep_tables import render_step
from virnuc_profiler.sweep.plan.steps import STEP_NAMES
from virnuc_profiler.sweep.results.journal import read_journal
from virnuc_profiler.sweep.session import Sweep
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration

FAST = Configuration(8, 8)


class Clock:
    """A clock on which the trials of the steps take longer than the brief ones of the confirmation."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def trials(self, result_of, seconds):
        def run(*arguments):
            self.now += seconds
            return trials(*arguments)

        trials = FakeTrials(result_of)
        run.trials = trials
        return run


def sweep_of(folder, result_of=success, brief=0.6, steps=STEP_NAMES, **options):
    """Run a sweep whose trials take a second, and less in the confirmation."""
    clock = Clock()
    long, short = clock.trials(result_of, 1.0), clock.trials(result_of, brief)
    measured = {"measured_sec": 0.9, "passes": 1}
    long.trials.result_of = lambda config: success(config, **measured) if result_of is success else result_of(config)
    sweep = fake_sweep(folder, long, clock=clock, run_brief_trial=short, **options)
    sweep.conditions.settings["cooldown_s"] = 0.4
    return sweep.run(steps), short.trials


def faster(config):
    return success(config, 110.0 if config == FAST else 100.0)


def test_a_configuration_that_is_ten_percent_faster_wins_with_an_interval(tmp_path):
    documents, brief = sweep_of(tmp_path, faster)
    confirmation = documents[-2].confirmation
    assert (confirmation.verdict, confirmation.recommended) == ("better", FAST)
    assert set(brief.configurations) == {FAST, BASELINE}  # no time for five blocks of three
    assert confirmation.used_sec <= confirmation.allowed_sec == pytest.approx(25 / 3)
    best = json.loads((tmp_path / "best_config.json").read_text())
    assert (best["verdict"], best["config"]) == ("better", FAST.to_json())
    assert best["speedup_low"] <= best["speedup"] == pytest.approx(1.1)
    text = render(tmp_path)
    assert "Verdict: better than the baseline, with 95% confidence." in text
    assert "of at most 8 s, a third of that of the steps before; 5 blocks in random order." in text


def test_equal_configurations_are_tied_and_the_cheapest_is_recommended(tmp_path):
    documents, _ = sweep_of(tmp_path)
    confirmation = documents[-2].confirmation
    assert confirmation.verdict == "tied"
    assert confirmation.blocks == 3
    assert documents[-1].choice.configuration == confirmation.recommended
    assert "Verdict: tied within 2%, with 95% confidence; of the tied that keep what is " in render(tmp_path)


def test_without_the_time_for_a_verdict_nothing_is_run_and_the_choice_is_untested(tmp_path):
    grid = {"num_workers": (8,), "prefetch_factor": (8,), "token_budget": (4096,), "buffer_size": (2000,)}
    documents, brief = sweep_of(tmp_path, faster, grid=grid)
    assert brief.calls == []
    assert not (tmp_path / "confirmation.json").exists()
    assert "Not run: 1 s, a third of the time of the steps before, are too short" in render_step(documents[-2])
    assert documents[-1].choice.configuration == FAST
    assert "its advantage is not tested: 1 s are too short for a confirmation" in documents[-1].choice.reason


def test_a_contender_that_fails_is_replaced_and_not_recommended(tmp_path):
    clock = Clock()
    long = clock.trials(faster, 1.0)
    short = clock.trials(lambda config: failure(config) if config == FAST else faster(config), 0.1)
    sweep = fake_sweep(tmp_path, long, clock=clock, run_brief_trial=short)
    documents = sweep.run(STEP_NAMES)
    assert short.trials.configurations.count(FAST) == 1
    assert FAST not in documents[-2].confirmation.contenders.all
    assert documents[-1].choice.configuration != FAST


def test_a_failed_baseline_leaves_the_fastest_as_the_reference(tmp_path):
    result_of = lambda c: failure(c) if c == BASELINE else success(c, 100.0 + c.num_workers)  # noqa: E731
    documents, _ = sweep_of(tmp_path, result_of)
    contenders = documents[-2].confirmation.contenders
    assert contenders.baseline is None
    assert contenders.reference.num_workers == 8


def raced(folder, result_of, stop_after=None, begin=None):
    """Run or resume a small sweep whose trials take ten seconds, and two in the confirmation."""
    folder.mkdir(exist_ok=True)
    clock, calls = Clock(), []

    def trials(seconds):
        def run(workload, configuration, *_):
            if len(calls) == stop_after:
                raise KeyboardInterrupt
            calls.append(configuration)
            clock.now += seconds
            return result_of(configuration)

        return run

    try:
        run_in_journal(folder, trials(10.0), begin=begin, clock=clock, run_brief_trial=trials(2.0))
    except KeyboardInterrupt:
        assert len(calls) == stop_after
    return calls


@pytest.mark.parametrize("count", [6, 7, 8, 9, 12, 16])
def test_a_resumed_sweep_goes_on_within_its_race(tmp_path, count):
    def result_of(config):
        return success(config, 110.0 if config.num_workers == 2 else 100.0, measured_sec=5.0, passes=10)

    begun = small_plan(STEP_NAMES)
    whole = raced(tmp_path / "whole", result_of, begin=begun)
    assert len(whole) == 7 + 10 + 1
    stopped = raced(tmp_path / "stopped", result_of, stop_after=count, begin=begun)
    assert stopped + raced(tmp_path / "stopped", result_of) == whole
    best = json.loads((tmp_path / "stopped" / "best_config.json").read_text())
    assert (best["verdict"], best["config"]["num_workers"]) == ("better", 2)


def test_newer_results_of_a_step_make_a_confirmation_old(tmp_path):
    sweep_of(tmp_path, faster)
    documents, _ = sweep_of(tmp_path, faster, steps=("packing", "validation"))
    assert documents[-1].choice.verdict is None
    assert len(read_journal(tmp_path)) == 2


def test_a_sweep_that_measures_energy_is_refused_where_there_is_none(tmp_path):
    from virnuc_profiler.errors import UsageError
    from virnuc_profiler.sweep.plan.objective import Objective

    sweep = fake_sweep(tmp_path, objective=Objective("energy"))
    assert isinstance(sweep, Sweep)
    with pytest.raises(UsageError, match="--objective energy: no result of baseline has an energy"):
        sweep.run(["baseline"])
    frugal = FakeTrials(lambda c: success(c, 100.0, joules_per_sequence=1.0 + c.num_workers))
    (_, document) = fake_sweep(tmp_path / "b", frugal, objective=Objective("energy")).run(["baseline", "dataloader"])
    assert document.best.configuration.num_workers == 2
    assert document.best.speedup == pytest.approx(5 / 3)


def test_a_confirmation_that_takes_longer_than_allowed_says_so(tmp_path):
    documents, _ = sweep_of(tmp_path)
    found = documents[-2]
    late = replace(found, confirmation=replace(found.confirmation, used_sec=9.0, allowed_sec=5.0))
    assert "Time: 9 s of at most 5 s, a third of that of the steps before, exceeded because" in render_step(late)
