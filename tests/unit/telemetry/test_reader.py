# SPDX-License-Identifier: MIT
import json

import pytest

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.logger import TelemetryLogger
from virnuc_profiler.telemetry.migrations import TELEMETRY
from virnuc_profiler.telemetry.reader import read_telemetry

MINIMAL = {"summary": {}, "per_batch_metrics": []}


def write(tmp_path, document):
    path = tmp_path / "telemetry_x.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_reads_what_the_logger_wrote(tmp_path):
    logger = TelemetryLogger(tmp_path, "x")
    logger.set_run_metadata(model_name="m")
    logger.record_batch(0, {"num_tokens": 5, "mine": "kept"})
    path = logger.finalize()
    assert read_telemetry(path) == json.loads(path.read_text())


def test_minimal_file_of_another_writer(tmp_path):
    document = read_telemetry(write(tmp_path, {"summary": {"total_tokens": 5}, "per_batch_metrics": [{"gpu_util": 3}]}))
    assert document["run_metadata"] == {}
    assert document["schema_version"] == TELEMETRY.version


def test_other_writers_timestamps(tmp_path):
    batches = [{"timestamp": 1_700_000_000.5}, {"timestamp": "2025-01-01T00:00:00.123"}]
    assert read_telemetry(write(tmp_path, {**MINIMAL, "per_batch_metrics": batches}))["per_batch_metrics"] == batches


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ({**MINIMAL, "summary": {"avg_gpu_util": 101}}, r"\$\.summary\.avg_gpu_util"),
        ({**MINIMAL, "summary": {"total_tokens": "many"}}, r"\$\.summary\.total_tokens"),
        (
            {**MINIMAL, "schema_version": "2.0"},
            r"schema_version 2\.0; this version reads 1\.x: upgrade",
        ),
        ({**MINIMAL, "schema_version": "0.9"}, r"schema_version 0\.9; this version reads 1\.x: use an older"),
        ({**MINIMAL, "schema_version": 1.0}, r"schema_version is 1\.0; it must be a string"),
        ({**MINIMAL, "run_metadata": []}, r"\$\.run_metadata"),
        ({**MINIMAL, "per_batch_metrics": {}}, r"\$\.per_batch_metrics"),
        ({**MINIMAL, "per_batch_metrics": [{}, {"packing_efficiency": 4.0}]}, r"\[1\]\.packing_efficiency: 4.0"),
        ({**MINIMAL, "per_batch_metrics": [{}, 5]}, r"\$\.per_batch_metrics\[1\]"),
        ({**MINIMAL, "per_batch_metrics": [{"stage_host_ms": {"a": "x"}}]}, r"stage_host_ms\['a'\]"),
        ({"summary": {}}, "per_batch_metrics"),
        ({"per_batch_metrics": []}, "summary"),
        ([], r"\$: \[\]"),
        (3, r"\$: 3"),
        (None, r"\$: None"),
        ("", "JSON"),
        ("{", "JSON"),
        ('{"summary": {"mine": NaN}, "per_batch_metrics": []}', "NaN"),
        ('{"summary": {"mine": 1e999}, "per_batch_metrics": []}', "floating point"),
        ('{"summary": {"total_tokens": 1' + 400 * "0" + '}, "per_batch_metrics": []}', "total_tokens"),
        ('{"summary": ' + 40 * "[" + 40 * "]" + ', "per_batch_metrics": []}', "nested"),
        (100_000 * "[", "JSON"),
        ('{"summary": {}, "summary": {}, "per_batch_metrics": []}', "'summary' twice"),
        ({**MINIMAL, "per_batch_metrics": [{"stage_host_ms": {"long" * 5000: "x"}}]}, r"stage_host_ms\['long.*…\]"),
    ],
)
def test_errors_name_file_and_json_path(tmp_path, document, where):
    path = write(tmp_path, document)
    with pytest.raises(TelemetryFormatError, match=where) as caught:
        read_telemetry(path)
    message = str(caught.value)
    assert "telemetry_x.json" in message
    assert len(message) < 1000
    assert "\n" not in message


def test_errors_are_printable(tmp_path):
    path = write(tmp_path, {**MINIMAL, "per_batch_metrics": [{"queue_state": "\x1b[31mred"}]})
    with pytest.raises(TelemetryFormatError) as caught:
        read_telemetry(path)
    assert str(caught.value).isprintable()


def test_huge_files_are_refused_before_they_are_read(tmp_path):
    path = write(tmp_path, MINIMAL)
    with pytest.raises(TelemetryFormatError, match="limit of 10"):
        read_telemetry(path, max_bytes=10)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(TelemetryFormatError, match=r"nowhere\.json"):
        read_telemetry(tmp_path / "nowhere.json")
    with pytest.raises(TelemetryFormatError, match="not a file"):
        read_telemetry(tmp_path)


def test_not_utf8(tmp_path):
    path = tmp_path / "binary.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TelemetryFormatError, match=r"binary\.json"):
        read_telemetry(path)
