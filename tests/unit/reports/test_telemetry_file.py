# SPDX-License-Identifier: MIT
"""From a run in memory to its telemetry file, reports and diagnosis, by public names alone."""

import json
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

import virnuc_profiler
from tests.support.pipelines import back_to_back, one_by_one
from virnuc_profiler import DeviceCeiling, ModelShape, TelemetryLogger
from virnuc_profiler.analysis.model_cost import arithmetic_metadata
from virnuc_profiler.sweep.trial.run_files import record_run
from virnuc_profiler.telemetry.reader import read_telemetry
from virnuc_profiler.telemetry.schema import telemetry_schema

SHAPE, CEILING = ModelShape(33, 1280), DeviceCeiling(700e12, 1305)


def test_a_telemetry_file_of_a_run_is_the_one_that_a_trial_writes(tmp_path):
    run = one_by_one(12, metadata={"model_name": "m", **arithmetic_metadata(SHAPE, DeviceCeiling())})
    path = virnuc_profiler.write_telemetry(run, tmp_path / "mine.json")
    theirs = record_run(TelemetryLogger(tmp_path, "x"), run, SHAPE)
    assert json.loads(path.read_text()) == json.loads(theirs.read_text())
    assert read_telemetry(path)["summary"]["bound_by"] == "synchronizing"
    Draft202012Validator(telemetry_schema()).validate(json.loads(path.read_text()))


def test_shape_and_ceiling_come_from_the_arguments_or_from_the_metadata(tmp_path):
    run = back_to_back()
    given = virnuc_profiler.write_telemetry(run, tmp_path / "a.json", shape=SHAPE, ceiling=CEILING)
    kept = replace(run, metadata=arithmetic_metadata(SHAPE, CEILING))
    recorded = virnuc_profiler.write_telemetry(kept, tmp_path / "b.json")
    summary = read_telemetry(given)["summary"]
    assert summary == read_telemetry(recorded)["summary"]
    assert summary["mfu"] == pytest.approx(summary["achieved_tflops"] / 700)
    assert "mfu" not in read_telemetry(virnuc_profiler.write_telemetry(run, tmp_path / "c.json"))["summary"]


def test_a_run_reports_the_same_from_memory_from_its_file_and_from_its_telemetry(tmp_path):
    run = one_by_one(12, metadata={"model_name": "m"})
    saved = run.save(tmp_path / "run.json")
    telemetry = virnuc_profiler.write_telemetry(run, tmp_path / "telemetry.json")
    report = virnuc_profiler.generate_performance_report(run, tmp_path / "report.txt")
    assert (tmp_path / "report.txt").read_text() == report
    assert "Model: m" in report
    assert "Largest loss after warm-up:            synchronizing" in report
    for path in (saved, telemetry):
        named = virnuc_profiler.generate_performance_report(path)
        assert named.replace(f"File: {path.name}\n", "") == report


def test_a_report_never_replaces_the_saved_run(tmp_path):
    saved = one_by_one(3).save(tmp_path / "run.json")
    with pytest.raises(ValueError, match="choose another output_path"):
        virnuc_profiler.generate_performance_report(saved, saved)


def test_tables_and_diagnosis_of_a_run():
    run = one_by_one(12)
    diagnosis = virnuc_profiler.diagnose_run(run)
    assert isinstance(diagnosis, virnuc_profiler.Diagnosis)
    assert diagnosis.bottleneck == "synchronizing"
    assert virnuc_profiler.render_diagnosis(run) == virnuc_profiler.render_diagnosis(diagnosis)
    assert "Share of run" in virnuc_profiler.render_stages(run)


def test_metadata_that_json_cannot_hold_are_refused_before_a_file_is_written(tmp_path):
    for value, error in ((float("nan"), ValueError), (object(), TypeError)):
        with pytest.raises(error, match="mine"):
            virnuc_profiler.write_telemetry(one_by_one(3, metadata={"mine": value}), tmp_path / "x.json")
    assert not list(tmp_path.iterdir())


def test_shards_may_be_saved_runs(tmp_path):
    run = one_by_one(12)
    run.save(tmp_path / "run.json")
    virnuc_profiler.write_telemetry(run, tmp_path / "telemetry.json")
    saved, written = (
        virnuc_profiler.aggregate_telemetry_shards([tmp_path / name])["global_summary"]
        for name in ("run.json", "telemetry.json")
    )
    assert saved == written
