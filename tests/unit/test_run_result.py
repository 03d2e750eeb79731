# SPDX-License-Identifier: MIT
import json

import pytest

from tests.support.runs import table_of
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.records import STAGES, BatchRecord, DeviceCapture, PackingRecord, StageRecord
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
        ({"schema_version": "9.9"}, "schema version '9.9'"),
        ({"run_id": None}, "'run_id'"),
        ({"batches__tokens": None}, "'tokens'"),
        ({"batches__tokens": [1, 2]}, "do not fit together"),
        ({"batches__tokens": ["many"]}, "integers or null"),
        ({"batches__tokens": [2**70]}, "do not fit together"),
        ({"batches__stage_end": [7]}, "stages that the file does not hold"),
        ({"batches__stage_end": [-1]}, "stages that the file does not hold"),
        ({"batches__host_end_ns": [None]}, "batches.host_end_ns must hold integers only"),
        ({"stages__host_start_ns": [None]}, "stages.host_start_ns must hold integers only"),
        ({"batches__tokens": [None]}, "packing statistics that the file does not hold"),
        ({"stages__stage": [99]}, "not in stage_names"),
        ({"device__colour": "red"}, "colour"),
    ],
)
def test_a_file_of_another_form_is_refused_with_its_reason(saved, changes, message):
    change(saved, **changes)
    with pytest.raises(TelemetryFormatError, match=message) as caught:
        RunResult.load(saved)
    assert "run.json" in str(caught.value)
