# SPDX-License-Identifier: MIT
"""A saved run in arrays is what it is as Python lists, and so is every error."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.runs import batch_records, table_of
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.files import read_json
from virnuc_profiler.telemetry.long_lists import run_document
from virnuc_profiler.telemetry.long_lists.run_document import read_document
from virnuc_profiler.telemetry.records import STAGES, DeviceCapture
from virnuc_profiler.telemetry.run_result import RunResult

CHANGES = ("", "0", "-", ",", "null", "]", "[", '"', "{", "}", "9" * 30, "1.5", " ", "\\")


def run_with(batches):
    return RunResult("r", "2026-01-01T00:00:00+00:00", 0, 100, STAGES, table_of(batches), DeviceCapture("cpu"))


def outcome(read):
    """Return what a reader makes of a file: the run as JSON values, or its error."""
    try:
        run = read()
    except TelemetryFormatError as error:
        return str(error)
    return run.batches.to_columns(), run.unknown, run.metadata, run.device


def both_ways(path):
    plain = outcome(lambda: RunResult.from_document(read_json(path), str(path)))
    return outcome(lambda: RunResult.load(path)), plain


@settings(max_examples=60)
@given(st.lists(batch_records(), max_size=4), st.data())
def test_a_damaged_file_is_refused_with_the_same_words(tmp_path_factory, batches, data):
    path = tmp_path_factory.mktemp("run") / "run.json"
    run_with(batches).save(path)
    text = path.read_text()
    begin = data.draw(st.integers(text.index('"batches"'), len(text)))
    end = data.draw(st.integers(begin, begin + 3))
    change = data.draw(st.sampled_from(CHANGES))
    path.write_text(text[:begin] + change + text[end:])
    arrays, plain = both_ways(path)
    assert arrays == plain


@given(st.lists(batch_records(), max_size=5))
def test_an_intact_file_is_the_same_in_both_ways(tmp_path_factory, batches):
    path = run_with(batches).save(tmp_path_factory.mktemp("run") / "run.json")
    arrays, plain = both_ways(path)
    assert arrays == plain
    assert arrays[0] == table_of(batches).to_columns()
    document = read_document(path)
    assert all(isinstance(values, np.ndarray) for table in ("batches", "stages") for values in document[table].values())


def test_unknown_columns_are_kept(tmp_path):
    path = run_with([]).save(tmp_path / "run.json")
    document = json.loads(path.read_text())
    document["batches"]["new"] = []
    document["stages"]["newer"] = []
    path.write_text(json.dumps(document))
    run = RunResult.load(path)
    assert json.loads(run.save(tmp_path / "again.json").read_text()) == document


def test_another_file_is_read_as_before(tmp_path):
    path = tmp_path / "other.json"
    path.write_text('{"stages": {"a": [1]}, "kind": "virnuc_profiler run"}')
    assert read_document(path) == read_json(path) == {"stages": {"a": [1]}, "kind": "virnuc_profiler run"}


def test_limits_are_by_the_kind_of_file(tmp_path, monkeypatch):
    monkeypatch.setattr(run_document, "MAX_BYTES", 10)
    path = run_with([]).save(tmp_path / "run.json")
    assert len(RunResult.load(path).batches) == 0  # a saved run may be larger than other files
    other = tmp_path / "other.json"
    other.write_text('{"kind": "other"}')
    with pytest.raises(TelemetryFormatError, match="17 bytes, more than the limit of 10 "):
        read_document(other)
    with pytest.raises(TelemetryFormatError, match="more than the limit of 20 "):
        RunResult.load(path, max_bytes=20)


def test_a_run_too_large_to_parse_names_what_is_wrong_with_it(tmp_path, monkeypatch):
    path = run_with([]).save(tmp_path / "run.json")
    path.write_text(path.read_text().replace('"tokens": []', '"tokens": [1.5]'))
    monkeypatch.setattr(run_document, "MAX_BYTES", 10)
    with pytest.raises(TelemetryFormatError, match=r"run\.json is not valid JSON: a list has an entry that is not a"):
        RunResult.load(path)
    path.write_text(path.read_text().replace("[1.5]", "[],,"))
    with pytest.raises(TelemetryFormatError, match=r"not valid JSON: Expecting property name [a-z ]+$"):
        RunResult.load(path)
