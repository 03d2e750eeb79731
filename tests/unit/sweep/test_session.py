# SPDX-License-Identifier: MIT
"""What a sweep plans, chooses and writes, with trials that return what the test wants."""

import json
import logging
from dataclasses import replace

import pytest
import torch

from tests.support.sweeps import (
    VALIDATION_WORKLOAD,
    WORKLOAD,
    FakeTrials,
    Recorder,
    conditions,
    described_files,
    failure,
    fake_sweep,
    success,
)
from virnuc_profiler import TelemetryLogger
from virnuc_profiler.cli.report import render
from virnuc_profiler.errors import EnvironmentFailure, OutputError, TelemetryFormatError, UsageError
from virnuc_profiler.sweep.plan.budgets import check_budgets
from virnuc_profiler.sweep.plan.steps import STEP_NAMES, plan
from virnuc_profiler.sweep.results.choice import Choice
from virnuc_profiler.sweep.results.document import Projection
from virnuc_profiler.sweep.results.journal import read_journal
from virnuc_profiler.sweep.results.result_files import read_step
from virnuc_profiler.sweep.trial import measured_model as prepare
from virnuc_profiler.targets.knobs.configuration import BASELINE

FILES = {
    "baseline.json",
    "dataloader_sweep.json",
    "packing_sweep.json",
    "interaction_sweep.json",
    "confirmation.json",
    "optimal_validation.json",
    "best_config.json",
}


def load(folder, name):
    return json.loads((folder / name).read_text())


def test_the_whole_sweep_measures_25_configurations_confirms_and_validates(tmp_path):
    trials = FakeTrials()
    sweep = fake_sweep(tmp_path, trials)
    documents = sweep.run(STEP_NAMES)
    assert [document.step for document in documents] == list(STEP_NAMES)
    confirming = [WORKLOAD] * 6  # a tie takes three blocks of two, and a third of 25 s allows no five of three
    assert [workload for workload, _, _ in trials.calls] == [WORKLOAD] * 25 + confirming + [VALIDATION_WORKLOAD]
    assert sweep.planned(STEP_NAMES)[-1] == VALIDATION_WORKLOAD
    assert {path.name for path in tmp_path.glob("*.json")} == FILES
    for document in documents:
        assert document.complete is True
        for section, values in document.conditions.to_json().items():
            assert values, section
    assert load(tmp_path, "optimal_validation.json")["workload"]["num_sequences"] == 5000


def test_no_two_trials_share_a_telemetry_file(tmp_path):
    trials = FakeTrials()
    fake_sweep(tmp_path, trials).run(STEP_NAMES)
    paths = [folder / configuration.run_id for _, configuration, folder in trials.calls]
    assert len(set(paths)) == len(trials.calls) == 32
    first = load(tmp_path, "dataloader_sweep.json")["results"][0]
    assert first["telemetry_path"] == "telemetry/dataloader/telemetry_tune_2w_2pf_4096tb_2000bs.json"


def test_a_step_without_a_baseline_measures_it_first(tmp_path):
    trials = FakeTrials()
    fake_sweep(tmp_path, trials, grid={"num_workers": [2], "prefetch_factor": [2]}).run(["dataloader"])
    assert trials.configurations == [BASELINE, BASELINE.replace(num_workers=2, prefetch_factor=2)]
    assert (tmp_path / "baseline.json").exists()


def test_a_baseline_that_is_there_is_used(tmp_path):
    fake_sweep(tmp_path, FakeTrials(lambda c: success(c, 50.0))).run(["baseline"])
    trials = FakeTrials()
    sweep = fake_sweep(tmp_path, trials, grid={"num_workers": [2], "prefetch_factor": [2]})
    assert len(sweep.planned(["dataloader"])) == 1
    (document,) = sweep.run(["dataloader"])
    assert len(trials.calls) == 1
    assert document.best.speedup == pytest.approx(2.0)
    assert document.baseline.sequences_per_sec == 50.0


@pytest.mark.parametrize(
    "change",
    [
        {"model__precision": "bf16"},
        {"settings__device_name": "another card"},
        {"versions__torch": "2.14.0"},
    ],
)
def test_a_baseline_of_other_conditions_is_measured_again(tmp_path, caplog, change):
    fake_sweep(tmp_path, conditions=conditions(**change)).run(["baseline"])
    trials = FakeTrials()
    fake_sweep(tmp_path, trials, grid={"num_workers": [2], "prefetch_factor": [2]}).run(["dataloader"])
    assert trials.configurations[0] == BASELINE
    assert next(iter(change)).replace("__", ".") in caplog.text


def test_a_baseline_of_another_workload_is_measured_again(tmp_path, caplog):
    fake_sweep(tmp_path, workload=replace(WORKLOAD, fingerprint="sha256:cc", num_sequences=64)).run(["baseline"])
    trials = FakeTrials()
    fake_sweep(tmp_path, trials, grid={"num_workers": [2], "prefetch_factor": [2]}).run(["dataloader"])
    assert trials.configurations[0] == BASELINE
    assert 'workload.fingerprint was "sha256:cc" and is now "sha256:aa"' in caplog.text
    assert "workload.num_sequences was 64 and is now 2000" in caplog.text


def test_a_baseline_that_is_in_no_journal_is_measured_again(tmp_path):
    (tmp_path / "baseline.json").write_text("{")
    trials = FakeTrials()
    fake_sweep(tmp_path, trials, grid={"num_workers": [2], "prefetch_factor": [2]}).run(["dataloader"])
    assert trials.configurations[0] == BASELINE
    assert read_step(tmp_path / "baseline.json").complete


def test_a_baseline_that_failed_is_measured_again_but_once_a_sweep(tmp_path, caplog):
    fake_sweep(tmp_path, FakeTrials(failure)).run(["baseline"])
    trials = FakeTrials(lambda c: failure(c) if c == BASELINE else success(c))
    sweep = fake_sweep(tmp_path, trials, grid={"num_workers": [2], "prefetch_factor": [2], "token_budget": [2048]})
    assert len(sweep.planned(["dataloader"])) == 2
    sweep.run(["dataloader", "interaction"])
    assert trials.configurations.count(BASELINE) == 1
    assert "it failed with OOM" in caplog.text


@pytest.mark.parametrize(
    "damage",
    [
        {"step": "tuning"},
        {"complete": None},
        {"planned": "one"},
        {"results": [{"status": "success", "config": {"num_workers": 4}}]},
        {"results": [{"status": "failed", "config": BASELINE.to_json()}]},
        {"results": [{"config": BASELINE.to_json(), "reason": "OOM"}]},
    ],
)
def test_a_damaged_result_file_is_refused(tmp_path, damage):
    fake_sweep(tmp_path).run(["baseline"])
    path = tmp_path / "baseline.json"
    assert read_step(path).step == "baseline"
    path.write_text(json.dumps({**load(tmp_path, "baseline.json"), **damage}))
    with pytest.raises(TelemetryFormatError, match="not a whole result file"):
        read_step(path)


def test_the_best_configuration_is_reported_from_its_file(tmp_path):
    fake_sweep(tmp_path).run(["validation"])
    path = tmp_path / "best_config.json"
    text = render(path)
    assert "Workload: 5,000 sequences, 1,075,000 tokens" in text
    assert text == render(tmp_path / "optimal_validation.json")
    path.write_text(json.dumps({**load(tmp_path, path.name), "validation": {}}))
    with pytest.raises(TelemetryFormatError, match="best_config"):
        render(path)


def test_telemetry_is_reported_from_the_folders_below(tmp_path):
    for step in ("baseline", "packing"):
        TelemetryLogger(tmp_path / step, "x").finalize()
    assert render(tmp_path).count("Performance Report") == 2


def test_every_configuration_is_on_disk_before_the_next_begins(tmp_path):
    def interrupted(configuration):
        if configuration.prefetch_factor == 8:
            raise KeyboardInterrupt
        return success(configuration)

    with pytest.raises(KeyboardInterrupt):
        fake_sweep(tmp_path, FakeTrials(interrupted)).run(STEP_NAMES)
    document = read_step(tmp_path / "dataloader_sweep.json")
    assert [result.configuration.prefetch_factor for result in document.results] == [2, 4]
    assert (document.complete, document.planned) == (False, 9)
    assert document.best is not None


def test_failures_are_recorded_and_never_win(tmp_path):
    def result_of(configuration):
        if configuration.num_workers == 8:
            return failure(configuration)
        return success(configuration, 100.0 + configuration.num_workers)

    document = fake_sweep(tmp_path, FakeTrials(result_of)).run(["dataloader"])[0]
    assert len(document.results) == 9
    failed = [result for result in document.results if not result.succeeded]
    assert len(failed) == 3
    assert all(result.peak_memory_gb == 79.5 and result.speedup is None for result in failed)
    assert document.best.configuration.num_workers == 4


def test_packing_best_keeps_the_constraint_if_one_can(tmp_path):
    def result_of(configuration):
        fast = configuration.token_budget == 8192
        return success(configuration, 200.0 if fast else 100.0, 0.80 if fast else 0.91)

    packing = fake_sweep(tmp_path, FakeTrials(result_of)).run(["packing"])[0]
    assert packing.constraint_met is True
    assert packing.best.configuration.token_budget == 2048


def test_without_any_that_keeps_it_the_best_is_shown_and_said_so(tmp_path):
    result_of = lambda c: success(c, 100.0 + c.buffer_size, 0.5)  # noqa: E731
    packing = fake_sweep(tmp_path, FakeTrials(result_of)).run(["packing"])[0]
    assert packing.constraint_met is False
    assert packing.best.configuration.buffer_size == 2000


def packs_worse_in_the_validation(packing):
    """Trials whose longer workload has another packing efficiency."""

    class Trials(FakeTrials):
        def __call__(self, workload, configuration, *rest):
            result = super().__call__(workload, configuration, *rest)
            return replace(result, packing_efficiency=packing) if workload is VALIDATION_WORKLOAD else result

    return Trials()


@pytest.mark.parametrize(
    ("packing", "shown"), [(0.843, "84.3%"), (0.89996, "89.996%"), (None, "its packing efficiency was not measured")]
)
def test_a_validation_that_misses_the_packing_rule_says_so_everywhere(tmp_path, packing, shown):
    validation = fake_sweep(tmp_path, packs_worse_in_the_validation(packing)).run(STEP_NAMES)[-1]
    assert validation.best.packing_efficiency == packing
    best, step = load(tmp_path, "best_config.json"), load(tmp_path, "optimal_validation.json")
    for choice in (best, step["selection"]):
        assert (choice["constraint_met"], choice["constraint_met_in_steps"]) == (False, True)
        assert shown in choice["reason"]
        assert choice["reason"].endswith("in the validation")
    assert step["constraint_met"] is False
    for name in ("best_config.json", "optimal_validation.json"):
        (line,) = [line for line in render(tmp_path / name).splitlines() if line.startswith("Packing rule missed: ")]
        assert shown in line
        assert line.endswith("on this workload, where 90% is required")


def test_a_validation_that_keeps_or_newly_reaches_the_packing_rule_agrees_in_all_files(tmp_path):
    wasteful = FakeTrials(lambda c: success(c, packing=0.5))
    for name, trials, in_steps in (("a", FakeTrials(), True), ("b", wasteful, False)):
        fake_sweep(tmp_path / name, trials).run(STEP_NAMES[:-1])
        fake_sweep(tmp_path / name, packs_worse_in_the_validation(0.95)).run(["validation"])
        best, step = load(tmp_path / name, "best_config.json"), load(tmp_path / name, "optimal_validation.json")
        for choice in (best, step["selection"]):
            assert (choice["constraint_met"], choice["constraint_met_in_steps"]) == (True, in_steps)
            assert choice["reason"].endswith("in the steps before the validation, which reached 95.0%") is not in_steps
        assert step["constraint_met"] is True
        assert "Packing rule missed" not in render(tmp_path / name / "best_config.json")


def test_a_validation_that_failed_says_nothing_of_the_packing_rule(tmp_path):
    trials = FakeTrials()
    trials.result_of = lambda c: success(c) if len(trials.calls) <= 25 else failure(c)
    fake_sweep(tmp_path, trials).run(STEP_NAMES)
    best, step = load(tmp_path, "best_config.json"), load(tmp_path, "optimal_validation.json")
    assert best["constraint_met"] is step["constraint_met"] is step["selection"]["constraint_met"] is None
    assert "Packing rule missed" not in render(tmp_path / "best_config.json")


def test_all_failed_leaves_no_best_and_nothing_to_validate(tmp_path, caplog):
    trials = FakeTrials(failure)
    recorder = Recorder()
    documents = fake_sweep(tmp_path, trials, listener=recorder).run(STEP_NAMES)
    assert len(trials.calls) == 25
    assert [document.best for document in documents] == [None] * 6
    assert documents[-1].choice == Choice(reason="no configuration has succeeded")
    assert recorder.events[-1] == ("step", "validation")
    assert documents[-1].complete is False
    assert not (tmp_path / "best_config.json").exists()
    assert "nothing can be validated" in caplog.text


def test_an_earlier_winner_does_not_outlive_a_sweep_without_one(tmp_path):
    fake_sweep(tmp_path).run(["validation"])
    assert (tmp_path / "best_config.json").exists()
    fake_sweep(tmp_path, FakeTrials(failure)).run(STEP_NAMES)
    assert not (tmp_path / "best_config.json").exists()


def test_files_of_sweeps_that_cannot_be_compared_do_not_stay_beside_new_ones(tmp_path, caplog):
    grid = {"num_workers": [2], "prefetch_factor": [2], "token_budget": [2048], "buffer_size": [500]}
    fake_sweep(tmp_path, workload=replace(WORKLOAD, fingerprint="sha256:cc"), grid=grid).run(STEP_NAMES)
    assert {path.name for path in tmp_path.glob("*.json")} == FILES - {"confirmation.json"}  # there was no time for it
    fake_sweep(tmp_path, grid=grid).run(["dataloader"])
    assert {path.name for path in tmp_path.glob("*.json")} == {"baseline.json", "dataloader_sweep.json"}
    assert "packing_sweep.json was of an earlier sweep under other conditions" in caplog.text
    assert "Packing Parameter Sweep" not in render(tmp_path)


def test_a_winner_does_not_outlive_newer_results(tmp_path):
    grid = {"token_budget": [2048], "buffer_size": [500]}
    fake_sweep(tmp_path, grid=grid).run(["packing", "validation"])
    assert (tmp_path / "best_config.json").exists()
    fake_sweep(tmp_path, FakeTrials(lambda c: success(c, 900.0)), grid=grid).run(["packing"])
    assert not (tmp_path / "best_config.json").exists()
    fake_sweep(tmp_path, grid=grid).run(["validation"])
    assert load(tmp_path, "best_config.json")["sequences_per_sec"] > 800


def test_a_measurement_without_a_rate_is_no_speedup_of_zero(tmp_path):
    sweep = fake_sweep(tmp_path, FakeTrials(lambda c: failure(c) if c == BASELINE else success(c)))
    document = sweep.run(["dataloader"])[0]
    assert {result.speedup for result in document.results} == {None}


def test_the_validation_projects_six_million_sequences(tmp_path):
    trials = FakeTrials(lambda c: success(c, 250.0))
    validation = fake_sweep(tmp_path, trials).run(["validation"])[0]
    assert validation.results[0].speedup is None  # it ran other sequences than the baseline
    assert validation.projection == Projection(6_000_000, pytest.approx(6e6 / 250 / 3600))
    best = load(tmp_path, "best_config.json")
    assert best["config"] == BASELINE.to_json()
    assert best["validation"]["sequences_per_sec"] == 250.0
    assert best["reason"].startswith("shortest predicted time")


def test_the_listener_hears_everything_in_order(tmp_path):
    recorder = Recorder()
    fake_sweep(tmp_path, listener=recorder).run(["baseline"])
    assert recorder.events == [
        ("started", "baseline", BASELINE.run_id),
        ("finished", "baseline", "success"),
        ("step", "baseline"),
    ]


def test_results_that_cannot_be_written_stop_the_sweep(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write into .*file"):
        fake_sweep(tmp_path / "file").run(["baseline"])


def lets_nothing_run(_num_workers):
    raise EnvironmentFailure("there is no shared memory: mount it")


def test_a_machine_that_lets_nothing_run_ends_the_sweep_and_counts_against_no_configuration(tmp_path, monkeypatch):
    trials = FakeTrials(lambda c: success(c) if c == BASELINE else failure(c, "environment"))
    with monkeypatch.context() as patch:
        patch.setattr("virnuc_profiler.sweep.measurement.trial_recorder.require_environment", lets_nothing_run)
        with pytest.raises(EnvironmentFailure) as caught:
            fake_sweep(tmp_path, trials).run(["dataloader"])
    assert str(caught.value) == (
        "there is no shared memory: mount it; the sweep ends here, and the results of 1 finished trial are kept: "
        f"sweep --resume {tmp_path} continues it"
    )
    assert len(trials.calls) == 2
    (record,) = read_journal(tmp_path)
    assert [trial.configuration for trial in record.trials] == [BASELINE]


def test_a_limit_of_processes_ends_the_sweep_only_if_it_is_too_low_for_one_worker(tmp_path):
    trials = FakeTrials(lambda c: failure(c, "environment") if c.num_workers == 8 else success(c))
    grid = {"num_workers": [8, 2], "prefetch_factor": [2]}
    (document,) = fake_sweep(tmp_path, trials, grid=grid).run(["dataloader"])
    assert [result.status for result in document.results] == ["failed", "success"]
    few = FakeTrials(lambda c: success(c) if c == BASELINE else failure(c, "environment"))
    with pytest.raises(EnvironmentFailure, match="it failed with environment; the sweep ends here"):
        fake_sweep(tmp_path / "one", few, grid={**grid, "num_workers": [1]}).run(["dataloader"])


def test_a_budget_too_small_for_the_longest_sequence_is_refused_with_a_way_out(tmp_path):
    trials = FakeTrials()
    with pytest.raises(
        UsageError, match=r"token_budget is 512, but the longest sequence of the validation has 1,002 tokens.*1,002$"
    ):
        fake_sweep(tmp_path, trials, grid={"token_budget": [4096, 512]}).run(STEP_NAMES)
    assert not trials.calls
    narrow = plan({"token_budget": [1000]})
    check_budgets(narrow, STEP_NAMES[:-1], WORKLOAD, VALIDATION_WORKLOAD)
    with pytest.raises(UsageError, match="is 1,000, but the longest sequence of the validation has 1,002 tokens"):
        check_budgets(narrow, STEP_NAMES, WORKLOAD, VALIDATION_WORKLOAD)


@pytest.fixture
def measured_model(tmp_path, monkeypatch):
    """A model that is none, and the options of each run of it."""
    runs = []

    def run(*arguments, **options):
        runs.append((arguments, options))
        return success(BASELINE, truncated_sequences=3, unknown_residues=0, oversize_batches=None)

    monkeypatch.setattr(prepare, "measure_configuration", run)
    monkeypatch.setattr("virnuc_profiler.inference.sequences.fasta.FastaFile", described_files())
    monkeypatch.setattr("virnuc_profiler.sweep.trial.warm_up.measure_configuration", run)
    monkeypatch.setattr("virnuc_profiler.inference.esm2.load.load_esm2_model", lambda *args, **options: (None, None))
    return prepare.MeasuredModel(prepare.Request(tmp_path, torch.device("cpu"), "m", timeout_s=7.0)), runs


def test_the_warm_up_keeps_the_settings_and_fails_silently(measured_model, caplog):
    model, runs = measured_model
    model.warm_up(WORKLOAD, num_workers=0)
    ((arguments, options),) = runs
    assert arguments[0].num_workers == 0
    assert (options["timeout_s"], options["failure_log_level"]) == (7.0, logging.DEBUG)
    assert all(record.levelno == logging.DEBUG for record in caplog.records)


def test_each_result_says_whether_the_model_was_warmed_up(measured_model, tmp_path):
    model, runs = measured_model
    model.run_trial(WORKLOAD, BASELINE, tmp_path)
    model.warm_up(WORKLOAD, num_workers=0)
    model.run_trial(WORKLOAD, BASELINE, tmp_path)
    assert [options.get("warmed_up") for _, options in runs] == [False, None, True]


def test_a_warm_up_that_failed_is_not_repeated_and_the_result_says_that_the_model_is_cold(
    measured_model, tmp_path, monkeypatch
):
    model, runs = measured_model
    monkeypatch.setattr("virnuc_profiler.sweep.trial.warm_up.measure_configuration", lambda *_, **__: failure(BASELINE))
    model.warm_up(WORKLOAD, num_workers=0)
    for _ in range(2):
        model.run_trial(WORKLOAD, BASELINE, tmp_path)
    assert [options.get("warmed_up") for _, options in runs] == [False, False]


def test_a_brief_trial_repeats_its_sequences_for_a_second_and_pauses_only_for_the_clean_up(tmp_path, measured_model):
    _, runs = measured_model
    request = prepare.Request(tmp_path, torch.device("cpu"), "m", trial_seconds=3.0, cooldown_s=2.0)
    model = prepare.MeasuredModel(request)
    model.run_trial(WORKLOAD, BASELINE, tmp_path)
    model.run_trial(WORKLOAD, BASELINE, tmp_path, brief=True)
    assert [(options["cooldown_s"], options["trial_seconds"]) for _, options in runs] == [(2.0, 3.0), ("auto", 1.0)]


def test_what_was_altered_in_the_sequences_is_said_once(measured_model, tmp_path, caplog):
    model, _ = measured_model
    for _ in range(2):
        model.run_trial(WORKLOAD, BASELINE, tmp_path)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.text.rstrip().endswith("in the file: 3 sequences cut to 1,022 residues")


def test_a_baseline_to_come_counts_as_needed(tmp_path):
    sweep = fake_sweep(tmp_path)
    assert sweep.needed(["packing"]) == ("baseline", "packing")
    sweep.run(["baseline"])
    assert sweep.needed(["packing"]) == ("packing",)


def test_without_workers_the_prefetch_factor_does_not_vary():
    step = plan({"num_workers": [0, 2], "prefetch_factor": [2, 4]})["dataloader"]
    found = [(one.num_workers, one.prefetch_factor) for one in step.configurations()]
    assert found == [(0, 2), (2, 2), (2, 4)]
