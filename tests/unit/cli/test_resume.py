# SPDX-License-Identifier: MIT
"""``sweep --resume``: what it takes from the journal, and what it refuses; the trials are fakes."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from tests.support.sweeps import FakeTrials, conditions, failure
from virnuc_profiler.cli.main import main
from virnuc_profiler.sweep.plan.sample import Sample
from virnuc_profiler.sweep.results.journal import JOURNAL_FILE, Journal, read_journal
from virnuc_profiler.sweep.trial import measured_model as prepare
from virnuc_profiler.sweep.trial.loaded_model import LiveFigures

SMALL = (
    "--num-sequences", "8", "--cooldown", "0", "--weights", "random", "--device", "cpu", "--seed", "7",
    "--num-workers", "0,1", "--prefetch-factor", "2", "--token-budget", "2048", "--buffer-size", "50",
)  # fmt: skip


class FakeModel:
    """Stands in for a loaded model; stops like Ctrl-C after a number of trials."""

    stop_after = None

    def __init__(self, request, fasta=None):
        type(self).requests.append(request)
        self.description = {"model_name": "m", "precision": "fp32", "weights": "w", "attention_backend": "sdpa"}
        self.forecast = None
        self.device_name = "cpu"

    def conditions(self):
        return conditions(**self.changes)

    def warm_up(self, workload, num_workers):
        pass

    def live_figures(self):
        return LiveFigures()

    def run_trial(self, workload, configuration, output_dir, on_progress, on_tokens=None, brief=False):
        if len(self.trials.calls) == type(self).stop_after:
            raise KeyboardInterrupt
        return self.trials(workload, configuration, output_dir, on_progress)


@pytest.fixture(autouse=True)
def model(monkeypatch):
    fake = type("Fake", (FakeModel,), {"requests": [], "trials": FakeTrials(), "changes": {}})
    monkeypatch.setattr(prepare, "MeasuredModel", fake)
    here = conditions()
    monkeypatch.setattr("virnuc_profiler.sweep.trial.provenance.machine_description", lambda: here.machine)
    monkeypatch.setattr("virnuc_profiler.sweep.trial.provenance.software_versions", lambda: here.versions)
    return fake


def sweep(capsys, *argv):
    code = main(["sweep", "--isolation", "none", *map(str, argv)])  # another process would not have the fakes
    output = capsys.readouterr()
    return code, output.out, output.err


@pytest.fixture
def stopped(tmp_path, model, capsys):
    """The folder of a sweep that was stopped after three of its trials."""
    model.stop_after = 3
    code, _, err = sweep(capsys, *SMALL, "--timeout", "60", "--output-dir", tmp_path / "out")
    model.stop_after = None
    assert code == 1
    assert f"sweep --resume {tmp_path / 'out'} continues it" in err
    return tmp_path / "out"


def test_a_sweep_of_which_nothing_succeeded_says_so_and_fails(tmp_path, model, capsys):
    model.trials = FakeTrials(failure)
    code, out, err = sweep(capsys, *SMALL, "--output-dir", tmp_path / "out")
    assert code == 1
    assert f"Results: {tmp_path / 'out'}" in out
    assert "no configuration succeeded" in err


def test_a_resumed_sweep_needs_no_other_option(stopped, model, capsys):
    code, out, err = sweep(capsys, "--resume", stopped)
    assert code == 0, err
    assert "Resumed: 3 finished, 4 to run" in out
    assert out.splitlines()[-1] == f"Results: {stopped}"
    first, second = model.requests
    assert second == first
    assert len(model.trials.calls) == 7
    assert json.loads((stopped / "dataloader_sweep.json").read_text())["grid"] == {
        "num_workers": [0, 1],
        "prefetch_factor": [2],
    }


def test_harmless_options_may_differ_and_the_same_ones_be_repeated(stopped, model, capsys):
    code, _, err = sweep(
        capsys, "--resume", stopped, *SMALL, "--output-dir", stopped, "--timeout", 90, "--cooldown", 1, "--debug"
    )
    assert code == 0, err
    assert model.requests[-1] == replace(model.requests[0], timeout_s=90.0, cooldown_s=1.0)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--seed", "42"), "--seed is 42 but was 7"),
        (("--num-sequences", "9"), "--num-sequences is 9 but was 8"),
        (("--model", "35M"), "--model is esm2_t12_35M_UR50D but was esm2_t6_8M_UR50D"),
        (("--weights", "auto"), "--weights is auto but was random"),
        (("--precision", "bf16"), "--precision is bf16 but was not given"),
        (("--num-workers", "0,1,2"), "--num-workers is 0,1,2 but was 0,1"),
        (("--steps", "packing"), "--steps is packing but was baseline,dataloader"),
        (("--fasta", "other.faa"), "other.faa but was not given"),
        (("--try-all",), "--try-all is true but was false"),
        (("--skip-invalid",), "--skip-invalid is true but was false"),
        (("--strict",), "--strict is true but was false"),
        (("--trial-seconds", "9"), "--trial-seconds is 9.0 but was 3.0"),
        (("--output-dir", "elsewhere"), "elsewhere but was"),
        (("--repeats", "3"), "--repeats is 3 but was 1"),
        (("--objective", "energy"), "--objective is energy but was time"),
        (("--for-sequences", "100"), "--for-sequences is 100 but was 6000000"),
        (("--min-packing", "0.5"), "--min-packing is 0.5 but was not given"),
        (("--max-memory-gb", "6"), "--max-memory-gb is 6.0 but was not given"),
        (("--no-confirm",), "--no-confirm is true but was false"),
    ],
)
def test_a_contradiction_is_refused_by_name(stopped, model, capsys, option, words):
    code, _, err = sweep(capsys, "--resume", stopped, *option)
    assert code == 2
    assert words in err
    assert "another --output-dir" in err
    assert len(model.requests) == 1


def test_other_conditions_are_refused_and_named_as_they_were_and_are(stopped, model, capsys):
    model.changes = {"settings__host": "there", "model__weights": "other"}
    code, _, err = sweep(capsys, "--resume", stopped)
    assert code == 2
    assert 'settings.host was "here" and is now "there"' in err
    assert 'model.weights was "random seed 0" and is now "other"' in err
    assert len(model.trials.calls) == 3
    code, _, err = sweep(capsys, "--resume", stopped, "--allow-mixed")
    assert code == 0, err
    marks = [
        result.get("measured_under")
        for result in json.loads((stopped / "dataloader_sweep.json").read_text())["results"]
    ]
    assert marks == [{"model.weights": "random seed 0", "settings.host": "here"}] * 2


def test_other_versions_are_refused_before_the_model_is_loaded(stopped, model, capsys, monkeypatch):
    versions = {**conditions().versions, "torch": "9.9"}
    monkeypatch.setattr("virnuc_profiler.sweep.trial.provenance.software_versions", lambda: versions)
    code, _, err = sweep(capsys, "--resume", stopped)
    assert code == 2
    assert 'versions.torch was "2.13.0" and is now "9.9"' in err
    assert len(model.requests) == 1


def test_a_finished_sweep_needs_no_model_and_prints_its_tables(stopped, model, capsys):
    assert sweep(capsys, "--resume", stopped)[0] == 0
    (stopped / "best_config.json").unlink()
    code, out, err = sweep(capsys, "--resume", stopped)
    assert code == 0, err
    assert "Resumed: 7 finished, 0 to run" in out
    assert "Projected run time" in out
    assert (stopped / "best_config.json").exists()
    assert len(model.requests) == 2


def test_a_dry_run_lists_what_is_left_and_changes_nothing(stopped, capsys):
    before = (stopped / JOURNAL_FILE).read_bytes()
    with Journal(stopped):  # it needs no lock
        code, out, _ = sweep(capsys, "--resume", stopped, "--dry-run")
    assert code == 0
    assert "baseline: 0 configurations" in out
    assert out.count("num_workers=") == 3
    assert (stopped / JOURNAL_FILE).read_bytes() == before


def test_half_written_files_of_a_killed_process_are_removed(stopped, capsys):
    (stopped / ".packing_sweep.json.unfinished-abcd1234").write_text("{")
    assert sweep(capsys, "--resume", stopped)[0] == 0
    assert not list(stopped.rglob(".*"))


@pytest.mark.parametrize("content", [None, b"", b"{}\n", b'{"crc32":"00000000","entry":{}}\n'])
def test_a_folder_without_a_sweep_is_misuse(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / JOURNAL_FILE).write_bytes(content)
    code, _, err = sweep(capsys, "--resume", tmp_path)
    assert code == 2
    assert f"{tmp_path} holds no sweep that could be resumed" in err


def test_mixing_needs_something_to_mix_with(tmp_path, capsys):
    code, _, err = sweep(capsys, *SMALL, "--allow-mixed", "--output-dir", tmp_path)
    assert code == 2
    assert "--resume" in err


def test_a_new_sweep_beside_an_unfinished_one_says_so(stopped, capsys):
    code, _, err = sweep(capsys, *SMALL, "--output-dir", stopped)
    assert code == 0
    assert "holds a sweep that is not finished, and this starts a new one: --resume would continue it" in err
    assert [len(record.trials) for record in read_journal(stopped)] == [3, 7]


def test_a_locked_folder_is_one_sentence(stopped, capsys):
    with Journal(stopped):
        code, _, err = sweep(capsys, "--resume", stopped)
    assert code == 1
    assert "is in use by another sweep: process" in err


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.faa"
    path.write_text("".join(f">s{number}\n{'MKV' * 20}\n" for number in range(8)))
    return path


@pytest.mark.parametrize("damage", ["truncated", "replaced", "removed"])
def test_another_file_of_sequences_is_refused(own, tmp_path, model, capsys, damage):
    folder = tmp_path / "out"
    model.stop_after = 2
    options = ("--device", "cpu", "--fasta", own, "--steps", "dataloader", "--output-dir", folder)
    assert sweep(capsys, *options)[0] == 1
    model.stop_after = None
    text = own.read_text()
    if damage == "removed":
        own.unlink()
    else:
        own.write_text(text[:40] if damage == "truncated" else text.replace("K", "L"))
    code, _, err = sweep(capsys, "--resume", folder)
    assert code == 2
    assert "own.faa" in err
    assert "the results of 2 finished trials stay in" in err
    own.write_text(text)
    assert sweep(capsys, "--resume", folder)[0] == 0


def test_records_stay_left_out_when_a_sweep_is_resumed(own, tmp_path, model, capsys):
    own.write_text(own.read_text() + ">empty\n>gap\nMK-V\n")
    folder = tmp_path / "out"
    model.stop_after = 2
    options = ("--device", "cpu", "--fasta", own, "--steps", "dataloader", "--output-dir", folder, "--skip-invalid")
    code, out, err = sweep(capsys, *options)
    assert code == 1
    assert "9 sequences of" in out
    assert "; 1 invalid record is left out, see skipped_records.tsv" in out
    assert err.count("1 sequence holds 1 gap (first: line 19 (gap))") == 1
    model.stop_after = None
    code, out, err = sweep(capsys, "--resume", folder)
    assert code == 0, err
    assert "1 invalid record is left out" in out
    workload = json.loads((folder / "dataloader_sweep.json").read_text())["workload"]
    assert (workload["skip_invalid"], workload["skipped_records"]) == (True, 1)
    assert [finding["kind"] for finding in workload["findings"]] == ["gaps"]


def test_a_resumed_sweep_runs_the_same_sample(tmp_path, model, capsys):
    own, folder = tmp_path / "own.faa", tmp_path / "out"
    own.write_text("".join(f">s{length}\n{'M' * length}\n" for length in range(1, 200)))
    model.stop_after = 2
    options = ("--device", "cpu", "--fasta", own, "--seed", 7, "--steps", "dataloader", "--output-dir", folder)
    code, out, _ = sweep(capsys, *options)
    assert code == 1
    assert "Workload: a random sample of 72 of 199 sequences" in out
    model.stop_after = None
    assert "--first is true but was false" in sweep(capsys, "--resume", folder, "--first")[2]
    code, again, err = sweep(capsys, "--resume", folder)
    assert code == 0, err
    assert "Workload: a random sample of 72 of 199 sequences" in again
    samples = {(workload.seed, workload.sample_fingerprint) for workload, _, _ in model.trials.calls}
    assert len(model.trials.calls) > 2
    assert len(samples) == 1
    assert samples.pop()[0] == 7


def test_a_sweep_whose_sample_would_be_another_one_today_is_not_resumed(tmp_path, model, capsys, monkeypatch):
    own, folder = tmp_path / "own.faa", tmp_path / "out"
    own.write_text("".join(f">s{length}\n{'M' * length}\n" for length in range(1, 200)))
    model.stop_after = 2
    assert sweep(capsys, "--device", "cpu", "--fasta", own, "--steps", "dataloader", "--output-dir", folder)[0] == 1
    monkeypatch.setattr(Sample, "fingerprint", "sha256:another")
    code, _, err = sweep(capsys, "--resume", folder)
    assert code == 2
    assert "own.faa is not what the sweep has run" in err


def test_the_request_of_a_journal_is_the_one_that_was_made(stopped, model):
    from virnuc_profiler.cli.options.measurement_request import resolve_device_here
    from virnuc_profiler.sweep.plan.request import NEW_OPTIONS, options_of, request_of
    from virnuc_profiler.sweep.plan.trial_length import PRECISION_TARGET, TRIAL_SECONDS

    (request,) = model.requests
    plan = read_journal(stopped)[0].plan
    assert request.device == torch.device("cpu")
    assert request_of(plan.options, plan.grid, stopped, resolve_device_here) == request
    assert json.loads(json.dumps(options_of(request))) == read_journal(stopped)[0].plan.options
    assert (request.trial_seconds, request.precision_target) == (TRIAL_SECONDS, PRECISION_TARGET)
    older = {name: value for name, value in plan.options.items() if name not in NEW_OPTIONS}
    once = replace(request, trial_seconds=None, precision_target=None, first=True)  # what older versions did
    assert request_of(older, plan.grid, stopped, resolve_device_here) == once


def full(folder, capsys):
    assert sweep(capsys, *SMALL, "--output-dir", folder)[0] == 0


def copied(folder, capsys):
    """Result files without their journal."""
    full(folder.parent / "first", capsys)
    folder.mkdir()
    for path in (folder.parent / "first").glob("*.json"):
        shutil.copy(path, folder)


def only_the_baseline(folder, capsys):
    assert sweep(capsys, *SMALL, "--steps", "baseline", "--output-dir", folder)[0] == 0


def another_seed(folder, capsys):
    assert sweep(capsys, *SMALL, "--seed", "8", "--output-dir", folder)[0] == 0


@pytest.mark.parametrize("before", [None, full, copied, only_the_baseline, another_seed])
@pytest.mark.parametrize("steps", ["validation", "packing", "baseline,validation", "dataloader,validation"])
def test_a_dry_run_lists_what_the_sweep_then_measures(tmp_path, model, capsys, monkeypatch, before, steps):
    monkeypatch.setattr("platform.node", lambda: conditions().settings["host"])
    folder = tmp_path / "out"
    if before is not None:
        before(folder, capsys)
    argv = (*SMALL, "--steps", steps, "--output-dir", folder)
    there = sorted(tmp_path.rglob("*"))
    code, out, err = sweep(capsys, *argv, "--dry-run")
    assert code == 0, err
    assert sorted(tmp_path.rglob("*")) == there
    listed = [line.strip() for line in out.splitlines() if line.startswith("  ")]
    earlier = len(model.trials.calls)
    assert sweep(capsys, *argv)[0] == 0
    measured = list(map(str, model.trials.configurations[earlier:]))
    assert len(listed) == len(measured), (listed, measured)
    assert [a for a in listed if a != "the best found"] == [b for a, b in zip(listed, measured, strict=True) if a == b]


def test_a_dry_run_of_a_resumed_sweep_lists_what_it_then_measures(stopped, model, capsys):
    _, out, _ = sweep(capsys, "--resume", stopped, "--dry-run")
    listed = [line for line in out.splitlines() if line.startswith("  ")]
    earlier = len(model.trials.calls)
    assert sweep(capsys, "--resume", stopped)[0] == 0
    assert len(listed) == len(model.trials.calls) - earlier == 4
