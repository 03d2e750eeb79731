# SPDX-License-Identifier: MIT
"""Files of other schema versions: read, kept, or refused by name. Fixtures of old versions are in tests/data."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.nsys_files import write_capture_of
from tests.support.pipelines import one_by_one, with_gpu
from tests.support.run_records import MS
from virnuc_profiler.analysis.diagnosis.diagnose import diagnose_run
from virnuc_profiler.cli.main import main
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.reports.shard_files import aggregate_telemetry_shards
from virnuc_profiler.telemetry.migrations import SAVED_RUN, TELEMETRY, FileFormat, SchemaVersion, require_readable
from virnuc_profiler.telemetry.reader import read_telemetry
from virnuc_profiler.telemetry.records import GpmReading, ProfilingCost
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.schema import telemetry_schema

DATA = Path(__file__).parents[2] / "data"
V1_0, V1_1 = DATA / "v1.0", DATA / "v1.1"
RUNS = sorted(DATA.glob("v1.*/run_*.json"))
TELEMETRY_FILES = sorted(DATA.glob("v1.*/telemetry_*.json"))


def version_and_name(path):
    return f"{path.parent.name}-{path.stem}"


def changed(path, target, change):
    document = json.loads(path.read_text())
    change(document)
    target.write_text(json.dumps(document))
    return target


@pytest.mark.parametrize("folder", [V1_0, V1_1], ids=lambda folder: folder.name)
def test_there_are_files_of_each_older_version(folder):
    versions = [json.loads(path.read_text())["schema_version"] for path in folder.glob("*.json")]
    assert versions == [folder.name.removeprefix("v")] * 4


def test_every_older_version_has_files():
    current = SchemaVersion.parse(TELEMETRY.version)
    assert {path.name for path in DATA.glob("v*")} == {f"v1.{minor}" for minor in range(current.minor)}


@pytest.mark.parametrize("path", TELEMETRY_FILES, ids=version_and_name)
def test_telemetry_of_older_versions_becomes_current(path):
    old, new = json.loads(path.read_text()), read_telemetry(path)
    assert new["schema_version"] == TELEMETRY.version
    shape = new["run_metadata"]["model_arithmetic"]
    assert (shape["num_layers"], shape["hidden_size"]) in {(6, 320), (33, 1280)}
    assert not shape.keys() & {"layers", "hidden"}
    assert "synchronising" not in (new["summary"]["bound_by"], *(new["summary"]["device_gap_seconds"] or ()))
    assert new["per_batch_metrics"] == old["per_batch_metrics"]
    assert new["summary"]["elapsed_seconds"] == old["summary"]["elapsed_seconds"]


def test_the_old_spelling_of_a_bottleneck_becomes_the_new_one():
    path = V1_0 / "telemetry_waits_for_the_device.json"
    old, new = json.loads(path.read_text())["summary"], read_telemetry(path)["summary"]
    assert (old["bound_by"], new["bound_by"]) == ("synchronising", "synchronizing")
    assert old["diagnosis"].replace("synchronising", "synchronizing") == new["diagnosis"] != old["diagnosis"]
    assert new["device_gap_seconds"]["synchronizing"] == old["device_gap_seconds"]["synchronising"] > 0


def test_the_share_in_device_stages_had_another_name_until_version_1_1(tmp_path):
    document = {"schema_version": "1.1", "summary": {"device_busy_fraction": 0.76}, "per_batch_metrics": []}
    (tmp_path / "a.json").write_text(json.dumps(document))
    summary = read_telemetry(tmp_path / "a.json")["summary"]
    assert summary == {"device_stages_fraction": 0.76}
    (tmp_path / "b.json").write_text(json.dumps({**document, "summary": None}))
    with pytest.raises(TelemetryFormatError, match="summary"):
        read_telemetry(tmp_path / "b.json")


def test_the_collector_had_another_name_in_version_1_0(tmp_path):
    path = changed(V1_0 / "run_profiled.json", tmp_path / "run.json", lambda old: old["cost"].update(harvest_cpu_ns=7))
    assert RunResult.load(path).cost.collector_cpu_ns == 7


@pytest.mark.parametrize("path", RUNS, ids=version_and_name)
def test_a_saved_run_of_older_versions_becomes_current(path, tmp_path):
    old = json.loads(path.read_text())
    run = RunResult.load(path)
    new = json.loads(run.save(tmp_path / "run.json").read_text())
    assert new["schema_version"] == SAVED_RUN.version
    shape = new["metadata"]["model_arithmetic"]
    assert (shape["num_layers"], shape["hidden_size"]) in {(6, 320), (33, 1280)}
    for table in ("batches", "stages"):  # later versions may have more columns
        assert {column: new[table][column] for column in old[table]} == old[table]
    unchanged = old.keys() - {"schema_version", "metadata", "cost", "batches", "stages"}
    assert {key: new[key] for key in unchanged} == {key: old[key] for key in unchanged}


@pytest.mark.parametrize("path", [*RUNS, *TELEMETRY_FILES], ids=version_and_name)
def test_files_of_older_versions_are_reported(path, capsys):
    assert main(["report", str(path)]) == 0
    out = capsys.readouterr().out
    assert "Performance Report" in out
    if "waits" in path.name:
        assert "synchronizing" in out


@pytest.mark.parametrize("folder", [V1_0, V1_1], ids=lambda folder: folder.name)
def test_telemetry_of_older_versions_is_aggregated(folder):
    paths = sorted(folder.glob("telemetry_*.json"))
    documents = [read_telemetry(path) for path in paths]
    with pytest.warns(UserWarning, match="different models"):
        total = aggregate_telemetry_shards(paths)["global_summary"]
    assert total["total_tokens"] == sum(document["summary"]["total_tokens"] for document in documents)


@pytest.mark.parametrize("folder", [V1_0, V1_1], ids=lambda folder: folder.name)
def test_a_saved_run_of_older_versions_is_diagnosed_as_when_it_was_written(folder):
    assert diagnose_run(RunResult.load(folder / "run_waits_for_the_device.json")).bottleneck == "synchronizing"


@pytest.mark.parametrize("folder", [V1_0, V1_1], ids=lambda folder: folder.name)
def test_a_saved_run_of_older_versions_is_correlated(folder, tmp_path, capsys):
    path, export = folder / "run_waits_for_the_device.json", tmp_path / "capture.sqlite"
    write_capture_of(RunResult.load(path), export, offset_ns=1000, utc_epoch_ns=1_740_830_400_000 * MS - 1000)
    assert main(["correlate", str(path), str(export)]) == 0
    assert "Batches: 12 in the run, 12 in the capture, 12 matched" in capsys.readouterr().out


@pytest.mark.parametrize("path", [RUNS[0], TELEMETRY_FILES[0]], ids=["saved run", "telemetry"])
def test_another_major_version_is_refused_by_name(path, tmp_path):
    newer = changed(path, tmp_path / path.name, lambda document: document.update(schema_version="2.0"))
    message = r"schema_version 2\.0; this version reads 1\.x: upgrade virnuc_profiler to read it"
    with pytest.raises(TelemetryFormatError, match=message) as caught:
        (RunResult.load if path in RUNS else read_telemetry)(newer)
    assert str(newer) in str(caught.value)


def test_a_newer_minor_version_keeps_what_this_version_does_not_know(tmp_path):
    """Unknown keys at every depth are written again, under the version that defines them."""
    run = with_gpu(one_by_one(8), gpm=(GpmReading(1, 1, 0.5), GpmReading(2, 1, 0.5)))
    path = replace(run, cost=ProfilingCost(9, 3, 100)).save(tmp_path / "run.json")

    def extend(document):
        document["schema_version"] = "1.9"
        document["weather"] = {"outside": [1, 2]}
        document["device"]["color"] = "red"
        document["cost"]["euros"] = 3
        document["gpu"]["fans"] = [1, 2]
        document["gpu"]["gpm"][1]["fp8_activity"] = 0.25
        document["batches"]["retries"] = list(range(8))
        document["stages"]["stream"] = [7] * len(document["stages"]["stage"])

    changed(path, path, extend)
    loaded = RunResult.load(path)
    assert loaded.batches.to_columns() == run.batches.to_columns()
    assert loaded.gpu == run.gpu
    assert json.loads(loaded.save(tmp_path / "again.json").read_text()) == json.loads(path.read_text())


def test_unknown_columns_are_left_out_once_their_rows_are_gone(tmp_path):
    path = one_by_one(8).save(tmp_path / "run.json")
    changed(path, path, lambda document: document["batches"].update(retries=list(range(8))))
    run = RunResult.load(path)
    fewer = json.loads(replace(run, batches=run.batches[:3]).save(tmp_path / "fewer.json").read_text())
    assert "retries" not in fewer["batches"]
    assert RunResult.load(tmp_path / "fewer.json").total_tokens == 3 * 4096


def test_optional_columns_and_keys_may_be_missing(tmp_path):
    path = with_gpu(one_by_one(8), gpm=(GpmReading(1, 1, 0.5),)).save(tmp_path / "run.json")

    def reduce(document):
        del document["metadata"], document["cost"], document["device"]["sampling_reason"], document["gpu"]["processes"]
        del document["batches"]["token_budget"], document["stages"]["device_start_ns"]

    run = RunResult.load(changed(path, path, reduce))
    assert (run.metadata, run.cost, run.device.sampling_reason, run.gpu.processes) == ({}, None, "", ())
    assert {batch.packing.token_budget for batch in run.batches} == {None}
    assert {stage.device_ns for batch in run.batches for stage in batch.stages} == {None}


def test_a_telemetry_file_of_a_newer_minor_version_keeps_everything(tmp_path):
    document = {"schema_version": "1.9", "summary": {"mine": 1}, "per_batch_metrics": [{"x": 2}], "run_metadata": {}}
    path = tmp_path / "telemetry_x.json"
    path.write_text(json.dumps({**document, "more": [3]}))
    assert read_telemetry(path) == {**document, "more": [3]}


def test_steps_run_in_order_from_the_version_of_the_file():
    steps = {f"1.{n}": lambda document, n=n: {**document, "seen": [*document.get("seen", []), n]} for n in range(3)}
    migrate = FileFormat("1.3", steps).migrate
    assert migrate({})["seen"] == [0, 1, 2]
    assert migrate({"schema_version": "1.1"}) == {"schema_version": "1.3", "seen": [1, 2]}
    assert migrate({"schema_version": "1.4"}) == {"schema_version": "1.4"}


def test_a_version_that_only_adds_keys_needs_no_step():
    migrate = FileFormat("1.2", {"1.1": lambda document: {**document, "seen": True}}).migrate
    assert migrate({"schema_version": "1.0", "mine": 1}) == {"schema_version": "1.2", "mine": 1, "seen": True}


def test_the_schema_names_the_version_of_telemetry_files():
    assert telemetry_schema()["$id"].rpartition(":")[2] == TELEMETRY.version


@pytest.mark.parametrize("value", [None, 1.0, 1, "1", "1.x", "1.0.0", "", "1.99999", "-1.0", "\u0661.0"])
def test_a_malformed_version_is_refused(value):
    with pytest.raises(TelemetryFormatError, match=r"schema_version is .*; it must be a string such as"):
        require_readable(value, "1.0")


def test_versions_are_compared_as_numbers():
    assert require_readable("1.10", "1.9") > SchemaVersion(1, 9)
    assert str(SchemaVersion.parse("1.10")) == "1.10"


@pytest.mark.parametrize("section", [5, None, [], {"model_arithmetic": 3}, {"model_arithmetic": {"layers": "x"}}])
def test_steps_leave_values_of_other_types_to_the_validation(section):
    for kind, key in ((TELEMETRY, "run_metadata"), (SAVED_RUN, "metadata")):
        document = {"schema_version": "1.0", key: section, "summary": section}
        before = json.dumps(document)
        kind.migrate(document)
        assert json.dumps(document) == before
