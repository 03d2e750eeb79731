# SPDX-License-Identifier: MIT
import json
from dataclasses import replace

import pytest

from tests.support.runs import table_of
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.records import (
    MACHINE,
    PROCESS,
    STAGES,
    BatchRecord,
    DeviceCapture,
    HostCapture,
    PackingRecord,
    StageRecord,
    StopRecord,
)
from virnuc_profiler.telemetry.run_result import RunResult


@pytest.fixture
def saved(tmp_path):
    batch = BatchRecord(
        index=0,
        host_start_ns=10,
        host_end_ns=90,
        stages=(StageRecord("forward", 20, 30, 25, 85),),
        packing=PackingRecord(2, 30, 10, 20, 500, 32),
    )
    run = RunResult("r", "2026-01-01T00:00:00+00:00", 0, 100, STAGES, table_of([batch]), DeviceCapture("cpu"))
    return run.save(tmp_path / "run.json")


def change(path, **changes):
    document = json.loads(path.read_text())
    for key, value in changes.items():
        *folders, last = key.split("__")
        target = document
        for folder in folders:
            target = target[folder]
        if value is None:
            del target[last]
        else:
            target[last] = value
    path.write_text(json.dumps(document))


def test_records_know_their_durations(saved):
    (batch,) = RunResult.load(saved).batches
    assert (batch.host_ns, batch.stages[0].host_ns, batch.stages[0].device_ns) == (80, 10, 60)
    assert (batch.packing.packing_efficiency, batch.packing.padding_tokens) == (30 / 32, 10)


def test_an_oversize_pack_has_no_efficiency_above_one():
    oversize = PackingRecord(1, 40, 40, 40, 1600, 32)
    assert (oversize.oversize, oversize.packing_efficiency) == (True, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "something else"}, "is not a saved run"),
        ({"schema_version": "9.9"}, r"schema_version 9\.9; this version reads 1\.x: upgrade"),
        ({"run_id": None}, "'run_id'"),
        ({"batches__index": None}, "'index'"),
        ({"stages__host_end_ns": None}, "'host_end_ns'"),
        ({"batches__tokens": None}, "flagged as having packing statistics"),
        ({"batches__tokens": [1, 2]}, "do not fit together"),
        ({"batches__tokens": ["many"]}, "integers or null"),
        ({"batches__tokens": [2**70]}, "batches.tokens contains a number of more than 62 bits"),
        ({"batches__stage_end": [7]}, "stages that the file does not contain"),
        ({"batches__stage_end": [-1]}, "stages that the file does not contain"),
        ({"batches__host_end_ns": [None]}, "batches.host_end_ns must contain only integers"),
        ({"stages__host_start_ns": [None]}, "stages.host_start_ns must contain only integers"),
        ({"batches__tokens": [None]}, "packing statistics, but the file lacks them"),
        ({"stages__stage": [99]}, "not in stage_names"),
        ({"device__name": None}, "device has no 'name'"),
        ({"device__name": 5}, "device.name is 5"),
        ({"device": [1]}, "device is .*must be dict"),
        ({"host_end_ns": "soon"}, "host_end_ns is 'soon'"),
        ({"host_end_ns": 2**63}, "host_end_ns is 9223372036854775808"),
        ({"stage_names": "forward"}, "stage_names is 'forward'"),
        ({"stage_names": ["fetch", 5]}, r"stage_names\[1\] is 5"),
        ({"metadata": []}, "metadata is"),
        ({"metadata": {"parameters": 2**2000}}, "metadata: parameters is an integer of 2001 bits"),
        ({"cost": {"calls": "many"}}, "cost"),
        ({"gpu": {}}, "gpu has no"),
        ({"gpu": 5}, "gpu is 5"),
        ({"gpu": {"uuid": "x", "fast": [{"at_ns": None}], "gpm": [], "energy": [], "tiers": []}}, r"gpu.fast\[0\]"),
        ({"schema_version": [[["\x1b[2J" * 999]]]}, "schema_version is .*…"),
        ({"batches": []}, "batches is"),
        ({"batches__tokens": [-5]}, "negative packing statistics"),
        ({"batches__tokens": {}}, "column 'tokens' is missing"),
        ({"batches__tokens": [-(2**63)]}, "more than 62 bits"),  # the value that stands for None
    ],
)
def test_a_file_of_another_form_is_refused_with_its_reason(saved, changes, message):
    change(saved, **changes)
    with pytest.raises(TelemetryFormatError, match=message) as caught:
        RunResult.load(saved)
    assert "run.json" in str(caught.value)


def test_a_column_of_one_value_is_not_spread_over_a_table_of_more(tmp_path):
    batches = [BatchRecord(i, 10, 90, (StageRecord("forward", 20, 30),)) for i in range(3)]
    path = RunResult("r", "", 0, 100, STAGES, table_of(batches), DeviceCapture("cpu")).save(tmp_path / "run.json")
    change(path, batches__flags=[0])
    with pytest.raises(TelemetryFormatError, match=r"do not fit together: they have \[1, 3\] values"):
        RunResult.load(path)


def test_batches_that_share_stages_are_refused_rather_than_multiplied(tmp_path):
    stages = tuple(StageRecord("forward", 20, 30) for _ in range(100))
    batches = [BatchRecord(0, 10, 90, stages), *(BatchRecord(i, 10, 90) for i in range(1, 100))]
    path = RunResult("r", "", 0, 100, STAGES, table_of(batches), DeviceCapture("cpu")).save(tmp_path / "run.json")
    change(path, batches__stage_begin=[0] * 100, batches__stage_end=[100] * 100)
    with pytest.raises(TelemetryFormatError, match="each stage belongs to one batch"):
        RunResult.load(path)


def test_errors_are_one_short_line_that_a_terminal_can_show(saved):
    change(saved, device__name=["\x1b[2J\n" + "x" * 5000])
    with pytest.raises(TelemetryFormatError) as caught:
        RunResult.load(saved)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_larger_file_is_refused_unless_it_is_asked_for(saved):
    size = saved.stat().st_size
    with pytest.raises(TelemetryFormatError, match=f"has {size:,} bytes"):
        RunResult.load(saved, max_bytes=size - 1)
    assert len(RunResult.load(saved, max_bytes=size).batches) == 1


def test_metadata_come_back_as_deep_as_they_may_be(tmp_path):
    deep = "end"
    for _ in range(31):
        deep = [deep]
    run = RunResult("r", "", 0, 1, STAGES, table_of([]), DeviceCapture("cpu"), metadata={"deep": deep})
    assert RunResult.load(run.save(tmp_path / "run.json")).metadata == {"deep": deep}


def test_stops_and_the_host_are_kept_and_older_files_have_none(tmp_path):
    host = HostCapture(0.25, 0.25, 342, 338, 90, 500, 7)
    stops = (StopRecord(5, 9, PROCESS, 12), StopRecord(20, 20, MACHINE, suspended_ns=3))
    run = RunResult("r", "", 0, 100, STAGES, table_of([]), DeviceCapture("cpu"))
    path = replace(run, host=host, stops=stops).save(tmp_path / "run.json")
    loaded = RunResult.load(path)
    assert (loaded.host, loaded.stops) == (host, stops)
    document = json.loads(path.read_text())
    del document["host"], document["stops"]
    path.write_text(json.dumps(document))
    older = RunResult.load(path)
    assert (older.host, older.stops, older.stopped_s, older.suspended_s) == (None, None, None, None)
