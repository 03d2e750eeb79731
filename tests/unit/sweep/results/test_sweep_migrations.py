# SPDX-License-Identifier: MIT
"""Journals and result files that earlier versions wrote; they are in ``tests/data``."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.sweeps import FakeTrials
from virnuc_profiler.cli.main import main
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.plan.steps import MIN_PACKING, STEPS
from virnuc_profiler.sweep.results.journal import Journal, read_journal
from virnuc_profiler.sweep.results.result_files import read_best, read_step
from virnuc_profiler.sweep.results.sweep_migrations import VERSION, migrate_document, migrate_entry, require_readable
from virnuc_profiler.sweep.session import Sweep
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, Configuration
from virnuc_profiler.telemetry.migrations import SchemaVersion

DATA = Path(__file__).parents[3] / "data"
OLD = DATA / "v1.0" / "sweep"
FINISHED, UNFINISHED = OLD / "finished", OLD / "unfinished"
UNFINISHED_1_1 = DATA / "v1.1" / "sweep" / "unfinished"
ALL_FINISHED = sorted(DATA.glob("v1.*/sweep/finished"))


def version_of(path):
    return next(part for part in path.parts if part.startswith("v1."))


@pytest.fixture(params=ALL_FINISHED, ids=version_of)
def finished(request):
    """The folder of a sweep of an older version."""
    return request.param


def without_nulls(values):
    """Return a document without the keys that are null, which an older version may lack."""
    if isinstance(values, list):
        return [without_nulls(value) for value in values]
    if not isinstance(values, dict):
        return values
    return {key: without_nulls(value) for key, value in values.items() if value is not None}


def with_defaults(old):
    """Return a document of an older version with what later ones say of every sweep."""
    if "selection" in old:
        old["selection"] = {"objective": "time", "tied_with": [], **old["selection"]}
    if "results" in old:
        return {"objective": Objective().to_json(), "repeats": 1, **old}
    return {"objective": "time", "tied_with": [], "pareto": [], "required_packing": MIN_PACKING, **old}


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.99"])
def test_any_minor_version_is_readable(version):
    require_readable(version, "x.json")


@pytest.mark.parametrize("version", ["2.0", "0.9", "1", "", None, 1.0, "1.0.0"])
def test_another_major_version_is_refused_by_name(version):
    with pytest.raises(TelemetryFormatError, match=r"^x\.json: schema_version .*"):
        require_readable(version, "x.json")


def test_no_knob_is_newer_than_the_files_that_hold_it():
    ours = SchemaVersion.parse(VERSION)
    assert [name for name, knob in BUILTIN_KNOBS.items() if SchemaVersion.parse(knob.since) > ours] == []


def test_renamed_options_and_settings_get_their_new_names():
    entry = {"kind": "sweep", "options": {"least_cosine": 0.9, "seed": 1}}
    assert migrate_entry(entry)["options"] == {"min_cosine": 0.9, "seed": 1}
    assert migrate_document({"settings": {"least_cosine": None}})["settings"] == {"min_cosine": None}
    new = {"settings": {"min_cosine": 0.5}, "kind": "x"}
    assert migrate_document(new) == new


def test_every_result_file_of_older_versions_is_read(finished):
    for step in STEPS:
        if step.name in ("confirmation", "search", "grid"):  # older versions had none
            continue
        document = read_step(finished / step.file_name)
        assert (document.step, document.complete) == (step.name, True)
        assert all(result.succeeded for result in document.results)
        assert document.conditions.settings["min_cosine"] is None
        assert "least_cosine" not in document.conditions.settings
    results = read_step(finished / "dataloader_sweep.json").results
    assert [result.configuration.num_workers for result in results] == [0, 1]


def test_the_recommendation_of_version_1_0_is_read():
    best = read_best(FINISHED / "best_config.json")
    assert best.choice.configuration == Configuration(4, 4, 2048, 50)
    assert best.validation.configuration == best.choice.configuration
    assert best.validation.telemetry_path.endswith("telemetry_tune_4w_4pf_2048tb_50bs.json")


def test_a_count_within_an_unknown_noise_was_0_and_is_unknown(finished):
    for choice in (
        read_best(finished / "best_config.json").choice,
        read_step(finished / "optimal_validation.json").choice,
    ):
        assert (choice.noise, choice.equals_within_noise) == (None, None)
    measured = {"noise": 0.1, "equals_within_noise": 0}
    assert migrate_document({"selection": measured, **measured}) == {"selection": measured, **measured}


@pytest.mark.parametrize(
    "path",
    sorted(path for folder in ALL_FINISHED for path in folder.glob("*.json")),
    ids=lambda path: f"{version_of(path)}-{path.name}",
)
def test_nothing_of_a_file_of_older_versions_is_lost(path):
    old = json.loads(path.read_text())
    old["schema_version"] = VERSION
    settings = old["settings"]
    settings["min_cosine"] = settings.pop("least_cosine", settings.get("min_cosine"))
    validation = old.get("validation", (old["results"] or [None])[0] if "results" in old else None)
    for choice in (old, old.get("selection", {})):
        if choice.get("noise") is None:
            choice.pop("equals_within_noise", None)
        if "config" in choice:
            choice["constraint_met_in_steps"] = choice["constraint_met"]
            choice["constraint_met"] = validation["packing_efficiency"] >= MIN_PACKING
    record = read_best(path) if path.name == "best_config.json" else read_step(path)
    assert without_nulls(with_defaults(old)) == without_nulls(record.to_json())


def test_the_folder_of_an_older_version_is_reported(finished, capsys):
    assert main(["report", str(finished)]) == 0
    out = capsys.readouterr().out
    assert out.count("==================================\n") >= 5
    assert "num_workers=4, prefetch_factor=4, token_budget=4096, buffer_size=2000\n" in out
    assert "precision" not in out
    assert main(["report", str(finished / "best_config.json")]) == 0


def test_an_unfinished_journal_of_version_1_1_is_read_with_its_options():
    (record,) = read_journal(UNFINISHED_1_1)
    assert record.plan.options["min_cosine"] == 0.98
    assert [trial.configuration.precision for trial in record.trials] == ["fp32", "fp32"]
    assert [trial.result.model["precision"] for trial in record.trials] == ["fp32", "fp32"]
    assert not read_step(UNFINISHED_1_1 / "dataloader_sweep.json").complete


def test_an_unfinished_journal_of_version_1_0_is_read_with_its_options():
    (record,) = read_journal(UNFINISHED)
    assert len(record.trials) == 3
    assert record.plan.options["min_cosine"] == 0.98
    assert record.plan.options["precision"] == "bf16"
    assert {trial.configuration.precision for trial in record.trials} == {None}
    assert record.current_conditions.model["precision"] == "bf16"


def test_a_sweep_of_version_1_0_is_continued_where_it_stopped(tmp_path):
    folder = tmp_path / "unfinished"
    shutil.copytree(UNFINISHED, folder)
    trials = FakeTrials()
    with Journal(folder) as journal:
        plan, conditions = journal.current.plan, journal.current.current_conditions
        sweep = Sweep(
            folder, trials, plan.workload, plan.validation_workload, conditions, plan.grid,
            journal=journal, check_workload=lambda workload: None,
        )  # fmt: skip
        documents = sweep.run(plan.steps)
    assert len(trials.calls) == 4
    assert [document.complete for document in documents] == [True] * 5
    kept, old = documents[1].results[0], read_step(UNFINISHED / "dataloader_sweep.json").results[0]
    assert replace(kept, speedup=None, standing=None) == replace(old, speedup=None)
    assert kept.speedup == pytest.approx(old.speedup)


def test_resuming_it_on_another_machine_is_refused_by_name(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "unfinished"
    shutil.copytree(UNFINISHED, folder)
    monkeypatch.setattr(
        "virnuc_profiler.sweep.trial.provenance.machine_description", lambda: {"cpu_model": "another processor"}
    )
    assert main(["sweep", "--resume", str(folder), "--isolation", "none"]) == 2
    err = capsys.readouterr().err
    assert 'machine.cpu_model was "AMD EPYC" and is now "another processor"' in err
    assert "--allow-mixed continues" in err


@pytest.mark.parametrize(("name", "read"), [("baseline.json", read_step), ("best_config.json", read_best)])
def test_a_file_of_another_major_version_is_refused(tmp_path, name, read):
    path = tmp_path / name
    path.write_text(json.dumps({**json.loads((FINISHED / name).read_text()), "schema_version": "2.0"}))
    with pytest.raises(TelemetryFormatError, match=rf"{name}: schema_version 2\.0; this version reads 1\.x: upgrade"):
        read(path)
