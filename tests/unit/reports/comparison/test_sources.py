# SPDX-License-Identifier: MIT
"""Sides from real files: saved runs, telemetry, sweeps, and folders of repeats, of this and of older versions."""

import json
import shutil
from pathlib import Path

import pytest

from tests.support.compared_runs import BATCH_MS, LENGTHS, noisy_run, save_runs
from tests.support.sweeps import FakeTrials, failure, fake_sweep, run_in_journal, small_plan, success
from virnuc_profiler.errors import TelemetryFormatError, UsageError
from virnuc_profiler.reports.comparison.run_source import read_run, run_of
from virnuc_profiler.reports.comparison.sources import read_side
from virnuc_profiler.reports.telemetry_file import write_telemetry

DATA = Path(__file__).parents[3] / "data"
RATE = sum(LENGTHS) / (BATCH_MS / 1000)


def test_a_saved_run_and_its_telemetry_give_the_same_values(tmp_path):
    run = noisy_run()
    run.save(tmp_path / "run_a.json")
    write_telemetry(run, tmp_path / "telemetry_a.json")
    saved, telemetry = read_run(tmp_path / "run_a.json"), read_run(tmp_path / "telemetry_a.json")
    assert saved.values == telemetry.values
    assert saved.steady == telemetry.steady
    assert saved.steady.rate == pytest.approx(RATE, rel=0.01)
    stored = json.loads((tmp_path / "telemetry_a.json").read_text())["summary"]["steady_interval"]
    assert [saved.steady.low, saved.steady.high] == pytest.approx([stored["low"], stored["high"]], rel=1e-6)
    assert saved.values["tokens_per_sec"] == pytest.approx(200 * RATE * 0.01 / (200 * 0.01 + 0.1), rel=0.01)
    assert saved.values["peak_memory_gb"] == 1.5
    assert saved.values["start_up_seconds"] == pytest.approx(0.11, rel=0.05)
    assert saved.facts["clocks.sm_mhz"] == 1980
    assert {name: saved.facts[name] for name in telemetry.facts} == telemetry.facts
    assert saved.configuration["token_budget"] == 4096


def test_a_cpu_and_a_gpu_are_told_apart():
    assert run_of(noisy_run(device="cpu"), "a").facts["device.kind"] == "CPU"
    assert run_of(noisy_run(device="cpu"), "a").facts["device.name"] == "a processor"
    gpu = run_of(noisy_run(), "a").facts
    assert (gpu["device.kind"], gpu["device.name"]) == ("GPU", "NVIDIA H200")


def test_a_failed_run_keeps_its_reason():
    assert run_of(noisy_run(status="failed", failure={"reason": "OOM"}), "a").failure == "OOM"


def test_metadata_of_another_writer_are_read_as_far_as_they_go():
    run = noisy_run(config=["not", "an", "object"], hardware=None, versions=3, workload="a file", model_name=None)
    found = run_of(run, "a")
    assert found.configuration == {}
    assert "model.model_name" not in found.facts
    assert "workload.fingerprint" not in found.facts


@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
@pytest.mark.parametrize(
    "name", ["run_profiled.json", "telemetry_profiled.json", "telemetry_waits_for_the_device.json"]
)
def test_files_of_older_versions(version, name):
    (run,) = read_side([DATA / version / name]).runs
    assert run.values["tokens_per_sec"] > 0
    assert run.facts["device.kind"] in ("CPU", "GPU")


@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_sweeps_of_older_versions(version, state):
    side = read_side([DATA / version / "sweep" / state])
    assert side.is_sweep
    assert side.succeeded()
    assert (side.recommended is not None) == (state == "finished" or len(side.succeeded()) > 0)


def test_several_files_and_folders_are_repeats(tmp_path):
    paths = save_runs(tmp_path, 3, batches=30)
    assert len(read_side(paths).runs) == 3
    (tmp_path / "run_0.earlier-1.json").write_text("moved aside by a later run")
    assert [run.source for run in read_side([tmp_path]).runs] == [str(path) for path in paths]


def test_a_folder_of_telemetry_counts_if_it_has_no_saved_runs(tmp_path):
    write_telemetry(noisy_run(batches=30), tmp_path / "one" / "telemetry_a.json")
    write_telemetry(noisy_run(batches=30), tmp_path / "two" / "telemetry_a.json")
    assert len(read_side([tmp_path]).runs) == 2
    save_runs(tmp_path, 1, batches=30)
    assert len(read_side([tmp_path]).runs) == 1


def test_a_folder_of_sweeps_is_repeats_of_a_sweep(tmp_path):
    for name in ("one", "two"):
        shutil.copytree(DATA / "v1.1" / "sweep" / "finished", tmp_path / name)
    one, both = read_side([tmp_path / "one"]), read_side([tmp_path])
    assert len(both.runs) == 2 * len(one.runs)
    assert both.recommended == one.recommended


def test_a_sweep_without_its_journal_is_read_from_its_result_files(tmp_path):
    folder = tmp_path / "sweep"
    shutil.copytree(DATA / "v1.1" / "sweep" / "finished", folder)
    with_journal = read_side([folder])
    (folder / "journal.jsonl").unlink()
    without = read_side([folder])
    assert without.recommended == with_journal.recommended
    key = [(run.configuration_key, run.values) for run in without.runs]
    assert sorted(map(str, key)) == sorted(str((run.configuration_key, run.values)) for run in with_journal.runs)


def test_trials_of_a_sweep_have_their_conditions_and_failures(tmp_path):
    trials = FakeTrials(lambda config: failure(config) if config.token_budget == 8192 else success(config))
    run_in_journal(tmp_path, trials, begin=small_plan())
    side = read_side([tmp_path])
    assert {run.failure for run in side.runs} == {None, "OOM"}
    assert side.recommended["token_budget"] in (2048, 4096)
    first = side.runs[0]
    assert first.facts["model.precision"] == "fp32"
    assert first.facts["workload.num_sequences"] == 2000
    assert first.values["tokens_per_sec"] == 21500.0
    assert all(run.facts["workload.num_sequences"] == 2000 for run in side.runs)  # not those of the validation


def test_a_throttled_trial_is_named(tmp_path):
    run_in_journal(
        tmp_path, FakeTrials(lambda config: success(config, outcome="throttled")), begin=small_plan(("baseline",))
    )
    (trial,) = read_side([tmp_path]).runs
    assert trial.warnings == (f"trials of {tmp_path} were throttled.",)


def test_a_sweep_that_measured_nothing_is_named(tmp_path):
    fake_sweep(tmp_path)
    (tmp_path / "journal.jsonl").write_text("")
    with pytest.raises(TelemetryFormatError, match="has measured nothing"):
        read_side([tmp_path])


def test_the_files_of_a_trial_count_only_if_they_are_its_own(tmp_path):
    """A later trial of the same name replaces the files, and the journal still has the figures of the first."""
    path = tmp_path / "telemetry" / "baseline" / "telemetry_a.json"
    write_telemetry(noisy_run(), path)
    own = json.loads(path.read_text())["summary"]["avg_tokens_per_sec"]

    def result(config):
        return success(config, tokens_per_sec=own if config.num_workers == 4 else 1.0, telemetry_path=str(path))

    class Trials(FakeTrials):
        def __call__(self, workload, configuration, output_dir, on_progress):
            return result(configuration)

    run_in_journal(tmp_path, Trials(), begin=small_plan(("baseline", "dataloader")))
    side = read_side([tmp_path])
    assert [run.steady is not None for run in side.runs] == [run.configuration["num_workers"] == 4 for run in side.runs]
    assert any(run.steady for run in side.runs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: [folder / "none.json"], "does not exist"),
        (lambda folder: [folder / "empty"], "holds no sweep and no run"),
        (lambda folder: [folder / "run_0.json", folder], "is given twice"),
        (lambda folder: [folder / "sweep" / "journal.jsonl"], "give its folder"),
        (lambda folder: [folder / "sweep", folder / "run_0.json"], "must be of one kind"),
    ],
)
def test_paths_that_name_no_side(tmp_path, make, message):
    save_runs(tmp_path, 1, batches=30)
    (tmp_path / "empty").mkdir()
    paths = make(tmp_path)
    if any("sweep" in path.parts for path in paths):
        shutil.copytree(DATA / "v1.1" / "sweep" / "finished", tmp_path / "sweep")
    with pytest.raises(UsageError, match=message):
        read_side(paths)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "run_a.json").write_text("{")
    with pytest.raises(TelemetryFormatError, match=r"run_a\.json"):
        read_side([tmp_path])


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ({"summary": {"avg_tokens_per_sec": 0.0}}, "tokens_per_sec"),
        ({"run_metadata": {"hardware": {"gpus": 3}}}, None),
        ({"run_metadata": {"config": {"num_workers": [1, 2]}}}, None),
        ({"per_batch_metrics": {"interval_ms": 1e300}}, "steady"),
    ],
)
def test_odd_values_of_another_writer_end_no_comparison(tmp_path, change, lost):
    path = write_telemetry(noisy_run(batches=30), tmp_path / "telemetry_a.json")
    document = json.loads(path.read_text())
    for name, values in change.items():
        for record in document[name] if name == "per_batch_metrics" else [document[name]]:
            record.update(values)
    path.write_text(json.dumps(document))
    found = read_run(path)
    assert (found.steady is None) == (lost == "steady")
    assert ("tokens_per_sec" not in found.values) == (lost == "tokens_per_sec")
