# SPDX-License-Identifier: MIT
"""What a resumed sweep keeps, runs again and writes, with trials that return what the test wants."""

import json

import pytest

from tests.support.sweeps import (
    FakeTrials,
    Recorder,
    StopAfter,
    conditions,
    failure,
    fake_sweep,
    not_tried,
    run_in_journal,
    small_plan,
    success,
)
from virnuc_profiler.cli.report import render
from virnuc_profiler.errors import OutputError
from virnuc_profiler.sweep.plan.steps import STEP_NAMES, STEPS
from virnuc_profiler.sweep.results.choice import Choice
from virnuc_profiler.sweep.results.from_journal import Documents
from virnuc_profiler.sweep.results.journal import JOURNAL_FILE, Journal, read_journal
from virnuc_profiler.sweep.results.result_files import read_step
from virnuc_profiler.targets.knobs.configuration import BASELINE


def stopped(folder, count, result_of=success, **options):
    with pytest.raises(KeyboardInterrupt):
        run_in_journal(folder, StopAfter(count, result_of), begin=small_plan(), **options)


def files_of(folder):
    return {path.name: path.read_text() for path in folder.glob("*.json")}


@pytest.mark.parametrize("count", range(8))
def test_what_is_finished_is_not_run_twice(tmp_path, count):
    stopped(tmp_path, count)
    trials = FakeTrials()
    documents = run_in_journal(tmp_path, trials)
    assert len(trials.calls) == 8 - count
    assert [document.complete for document in documents] == [True] * 5


def interrupted(configuration):
    return success(configuration, 1.0, outcome="interrupted", evidence={"stopped_sec": 15.0})


def test_interrupted_trials_are_run_again_and_have_not_won(tmp_path):
    documents = run_in_journal(tmp_path, FakeTrials(interrupted), begin=small_plan())
    assert [document.best for document in documents] == [None] * 5
    assert not (tmp_path / "best_config.json").exists()
    trials = FakeTrials()
    documents = run_in_journal(tmp_path, trials)
    assert len(trials.calls) == 8
    assert all(document.best is not None for document in documents)
    assert (tmp_path / "best_config.json").exists()


@pytest.mark.parametrize("result_of", [failure, not_tried, lambda c: failure(c, "worker_crash")])
def test_failures_of_a_configuration_are_kept(tmp_path, result_of):
    stopped(tmp_path, 3, lambda c: success(c) if c == BASELINE else result_of(c))
    trials = FakeTrials()
    documents = run_in_journal(tmp_path, trials)
    assert len(trials.calls) == 5
    assert [result.status for result in documents[1].results] == ["failed", "failed"]


def test_bad_luck_is_run_again_and_its_result_replaced(tmp_path):
    stopped(tmp_path, 3, lambda c: success(c) if c == BASELINE else failure(c, "device_lost"))
    assert read_step(tmp_path / "dataloader_sweep.json").results[0].reason == "device_lost"
    trials = FakeTrials()
    documents = run_in_journal(tmp_path, trials)
    assert len(trials.calls) == 7
    assert [result.status for result in documents[1].results] == ["success", "success"]


def test_what_the_machine_did_not_let_run_is_run_again(tmp_path):
    stopped(tmp_path, 3, lambda c: success(c) if c == BASELINE else failure(c, "environment"))
    trials = FakeTrials()
    documents = run_in_journal(tmp_path, trials)
    assert len(trials.calls) == 7
    assert [result.status for result in documents[1].results] == ["success", "success"]


@pytest.mark.parametrize(("limit_s", "again"), [(10.0, 0), (5.0, 0), (20.0, 2), (None, 2)])
@pytest.mark.parametrize(
    ("deadline", "name"), [("total", "timeout_s"), ("hang", "progress_timeout_s"), (None, "timeout_s")]
)
def test_what_exceeded_a_time_limit_is_run_again_only_if_that_is_longer_now(tmp_path, limit_s, again, deadline, name):
    def result_of(configuration):
        evidence = {"evidence": {"deadline": deadline}} if deadline else {}
        return success(configuration) if configuration == BASELINE else failure(configuration, "timeout", **evidence)

    stopped(tmp_path, 3, result_of, conditions=conditions(**{f"settings__{name}": 10.0}))
    trials = FakeTrials()
    run_in_journal(tmp_path, trials, conditions=conditions(**{f"settings__{name}": limit_s}))
    assert len(trials.calls) == 5 + again


def test_a_finished_sweep_is_only_written_again(tmp_path):
    run_in_journal(tmp_path, begin=small_plan())
    whole, journal = files_of(tmp_path), (tmp_path / JOURNAL_FILE).read_bytes()
    for path in tmp_path.glob("*.json"):
        path.unlink()
    trials, recorder = FakeTrials(), Recorder()
    run_in_journal(tmp_path, trials, listener=recorder)
    assert not trials.calls
    assert files_of(tmp_path) == whole
    assert (tmp_path / JOURNAL_FILE).read_bytes() == journal
    assert recorder.events == [("step", name) for name in small_plan().steps]


def test_the_files_are_made_from_the_journal_alone_at_any_time(tmp_path):
    for count in range(8):
        folder = tmp_path / str(count)
        folder.mkdir()
        stopped(folder, count)
        made = (
            {
                name: json.dumps(document.to_json(), indent=1) + "\n"
                for name, document in Documents(read_journal(folder)).files().items()
                if document is not None
            }
            if count
            else {}
        )
        assert made == files_of(folder)


def test_a_report_needs_the_journal_only(tmp_path):
    stopped(tmp_path, 2)
    shown = render(tmp_path)
    assert "Incomplete: 1 of 2 configurations were run" in shown
    for path in tmp_path.glob("*.json"):
        path.unlink()
    assert render(tmp_path) == shown
    assert files_of(tmp_path) == {}


def test_a_report_shows_what_is_there_where_the_journal_is_of_another_version(tmp_path, caplog):
    fake_sweep(tmp_path).run(["baseline"])
    (tmp_path / JOURNAL_FILE).unlink()
    (tmp_path / JOURNAL_FILE).mkdir()
    assert render(tmp_path).startswith("Baseline")
    assert "cannot read" in caplog.text


def test_results_of_other_conditions_are_marked_where_they_were_let_in(tmp_path):
    stopped(tmp_path, 2)
    documents = run_in_journal(tmp_path, conditions=conditions(versions__torch="3.0"))
    marks = [result.measured_under for result in documents[1].results]
    assert marks == [{"versions.torch": "2.13.0"}, None]
    assert "Mixed: 1 of 2 differ from the rest in versions.torch." in render(tmp_path)


def test_an_unfinished_sweep_knows_that_it_is_one(tmp_path):
    stopped(tmp_path, 7)
    assert not Documents(read_journal(tmp_path)).complete()
    run_in_journal(tmp_path)
    assert Documents(read_journal(tmp_path)).complete()


def test_a_sweep_in_which_nothing_succeeds_can_be_resumed_too(tmp_path):
    stopped(tmp_path, 6, failure)
    documents = run_in_journal(tmp_path, FakeTrials(failure))
    assert documents[-1].choice == Choice(reason="no configuration has succeeded")
    assert Documents(read_journal(tmp_path)).complete()
    whole = files_of(tmp_path)
    assert set(whole) == {step.file_name for step in STEPS if step.name not in ("confirmation", "search", "grid")}
    trials = FakeTrials()
    run_in_journal(tmp_path, trials)
    assert not trials.calls
    assert files_of(tmp_path) == whole


def test_what_is_left_is_known_beforehand(tmp_path):
    stopped(tmp_path, 3)
    with Journal(tmp_path) as journal:
        sweep = fake_sweep(tmp_path, grid=small_plan().grid, journal=journal)
        assert [step for step, _ in sweep.to_run(STEP_NAMES)] == [
            "packing", "packing", "interaction", "interaction", "validation",
        ]  # fmt: skip
        sweep.run(["baseline", "dataloader", "packing", "interaction", "validation"])
        assert sweep.to_run(STEP_NAMES) == []


def test_a_second_sweep_of_one_folder_is_refused_while_the_first_runs(tmp_path):
    def trial(configuration):
        with pytest.raises(OutputError, match="in use by another sweep"):
            fake_sweep(tmp_path).run(["baseline"])
        return success(configuration)

    trials = FakeTrials(trial)
    fake_sweep(tmp_path, trials).run(["baseline"])
    assert len(trials.calls) == 1


def test_results_that_cannot_be_written_are_in_the_journal(tmp_path):
    (tmp_path / "baseline.json").mkdir()
    with pytest.raises(OutputError, match=r"baseline\.json"):
        fake_sweep(tmp_path).run(["baseline"])
    assert len(read_journal(tmp_path)[-1].trials) == 1
