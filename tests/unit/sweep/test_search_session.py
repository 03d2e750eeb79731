"""A sweep that searches: its trials, its race, its files, and how it is resumed. Trials return what the tests want."""

import json
from dataclasses import replace

import pytest
from benchmarks.search_replay import search

from tests.support.sweeps import VALIDATION_WORKLOAD, WORKLOAD, FakeTrials, StopAfter, failure, fake_sweep, success
from virnuc_profiler.cli.report import render
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.plan.steps import SEARCH_STEPS
from virnuc_profiler.sweep.results.from_journal import Documents
from virnuc_profiler.sweep.results.journal import Journal, read_journal
from virnuc_profiler.sweep.results.remaining import remaining_trials
from virnuc_profiler.sweep.results.search_trials import planned_space
from virnuc_profiler.sweep.results.sweep_record import SweepPlan
from virnuc_profiler.sweep.search import adaptive
from virnuc_profiler.sweep.search.adaptive import TRIALS, Measurement
from virnuc_profiler.sweep.search.finals import FINALISTS
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration

PLAN = SweepPlan(SEARCH_STEPS, {}, WORKLOAD, VALIDATION_WORKLOAD)


@pytest.fixture(autouse=True)
def proposals(monkeypatch):
    """Walk through the space in place of Optuna, which is tested elsewhere."""

    def propose(space, observations, seed):
        return space.configurations[(101 * len(observations)) % len(space.configurations)]

    monkeypatch.setattr(adaptive, "propose", propose)


def result_of(configuration):
    """A machine on which budgets and up to four workers pay."""
    workers = min(configuration.num_workers + 1, 5) / 5
    return success(configuration, 500 * workers * configuration.token_budget / (configuration.token_budget + 4000))


def run(folder, trials, plan=PLAN, budget=20_000):
    folder.mkdir(exist_ok=True)
    with Journal(folder) as journal:
        if not journal.records:
            journal.begin(plan)
        space = planned_space(journal.current.plan, 8, budget)
        sweep = fake_sweep(folder, trials, journal=journal, search_space=space)
        return sweep.run(journal.current.plan.steps)


def test_a_search_explores_races_and_recommends_a_configuration_that_beats_the_baseline(tmp_path):
    trials = FakeTrials(result_of)
    documents = run(tmp_path, trials)
    assert [document.step for document in documents] == list(SEARCH_STEPS)
    assert all(document.complete for document in documents)
    race = documents[2].confirmation
    assert FINALISTS <= len(race.contenders.all) <= FINALISTS + 1  # the baseline may be a finalist itself
    assert race.verdict == "better"
    best = json.loads((tmp_path / "best_config.json").read_text())
    assert best["config"]["num_workers"] in (4, 6)  # neither too few nor the most
    assert result_of(Configuration.from_json(best["config"])).sequences_per_sec > 0.98 * 500 * 20_000 / 24_000
    assert all(one == BASELINE or one.token_budget <= 20_000 for one in trials.configurations)


def test_a_replay_of_the_search_makes_the_same_trials_and_choice(tmp_path):
    trials = FakeTrials(result_of)
    run(tmp_path, trials)
    found = search(
        planned_space(PLAN, 8, 20_000), lambda one: Measurement(1 / Objective().cost(result_of(one)), 1.0), seed=42
    )
    explored = len(found.trials)
    assert list(trials.configurations[:explored]) == [one for one, _ in found.trials]
    assert set(trials.configurations[explored:-1]) == set(found.finalists)
    best = json.loads((tmp_path / "best_config.json").read_text())
    assert best["config"] == found.configuration.to_json()


def test_the_journal_holds_the_trials_of_the_search_under_their_step(tmp_path):
    run(tmp_path, FakeTrials(result_of))
    (record,) = read_journal(tmp_path)
    assert sum(trial.step == "search" for trial in record.trials) == TRIALS - 1
    assert Documents([record]).complete()
    text = render(tmp_path)
    assert "Adaptive Search" in text
    assert "Confirmation" in text


@pytest.mark.parametrize("count", [2, 9, TRIALS + 3, TRIALS + 30])
def test_a_resumed_search_goes_on_as_if_it_had_not_been_interrupted(tmp_path, count):
    whole = FakeTrials(result_of)
    run(tmp_path / "whole", whole)
    first, second = StopAfter(count, result_of), FakeTrials(result_of)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", first)
    run(tmp_path / "parts", second, budget=16_000)  # another amount of memory is free, but the search keeps its space
    assert first.configurations + second.configurations == whole.configurations


def test_a_dry_run_counts_what_is_left_before_the_race(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, StopAfter(5, result_of))
    records = read_journal(tmp_path)
    left = remaining_trials(records, SEARCH_STEPS, {})
    assert [name for name, _ in left] == ["search"] * (TRIALS - 5) + ["validation"]


def test_a_limit_of_time_is_kept_with_race_and_validation(tmp_path):
    trials = FakeTrials(result_of)
    run(tmp_path, trials, replace(PLAN, budget_sec=40.0))  # every trial takes a second
    assert len(trials.calls) <= 40
    (record,) = read_journal(tmp_path)
    assert record.plan.budget_sec == 40.0
    assert {"baseline", "search", "confirmation", "validation"} == {trial.step for trial in record.trials}


def test_configurations_that_fail_are_not_recommended(tmp_path):
    def fails_beyond(configuration):
        return failure(configuration) if configuration.token_budget > 15_000 else result_of(configuration)

    trials = FakeTrials(fails_beyond)
    run(tmp_path, trials)
    failed = [one for one in trials.configurations if one.token_budget > 15_000]
    assert len(set(failed)) == len(failed) > 0
    assert json.loads((tmp_path / "best_config.json").read_text())["config"]["token_budget"] <= 15_000


def test_a_search_in_which_everything_fails_ends(tmp_path):
    trials = FakeTrials(failure)
    run(tmp_path, trials)
    assert len(trials.calls) <= TRIALS + 1
    assert not (tmp_path / "best_config.json").exists()
