# SPDX-License-Identifier: MIT
import json
import math
import os
import stat

import pytest

from virnuc_profiler.errors import OutputError, TelemetryFormatError
from virnuc_profiler.telemetry.files import (
    read_json,
    write_json_atomically,
    write_text_atomically,
)


def test_what_is_written_can_be_read(tmp_path):
    path = write_json_atomically(tmp_path / "new folder" / "ü.json", {"a": [1, None, "é"]})
    assert read_json(path) == {"a": [1, None, "é"]}


@pytest.mark.parametrize("entry", [None, 1, -0.1, "a,\n]", [], {}, [[1], {"a": None}], {"deep": [0] * 1000}])
@pytest.mark.parametrize("length", [255, 256, 257, 513])
def test_long_lists_have_few_lines_and_the_same_values(tmp_path, entry, length):
    document = {"b": [entry] * length, "a": {"inner": [["x"], [entry] * length]}, "c": [1, {"d": [entry] * length}]}
    path = write_json_atomically(tmp_path / "long.json", document)
    assert json.loads(path.read_text()) == document
    assert list(json.loads(path.read_text())) == list(document)


def test_names_that_are_no_strings_are_written_as_python_does(tmp_path):
    document = {1: [0] * 300, None: {True: [0] * 300, 2.5: 1}, 'a"\n': [0] * 300}
    path = write_json_atomically(tmp_path / "long.json", document)
    assert read_json(path) == json.loads(json.dumps(document))


def test_a_long_list_of_numbers_has_fewer_lines_than_numbers(tmp_path):
    path = write_json_atomically(tmp_path / "long.json", {"numbers": list(range(1000))})
    assert len(path.read_text().splitlines()) < 10


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "result.json"
    write_json_atomically(path, {"old": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        write_json_atomically(path, {"new": math.nan})
    assert json.loads(path.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*file/result\.json: a part of its path is a file"):
        write_json_atomically(tmp_path / "file" / "result.json", {})


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        path = write_text_atomically(tmp_path / "text", "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("text", ["", "{", '{"a": NaN}', "[" * 100_000])
def test_what_is_not_json_is_refused_by_name(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(TelemetryFormatError, match=r"broken\.json is not valid JSON"):
        read_json(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TelemetryFormatError, match=r"cannot read .*absent\.json: No such file"):
        read_json(tmp_path / "absent.json")


def test_a_pipe_is_not_waited_for_and_an_endless_device_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(TelemetryFormatError, match=r"cannot read .*: it is not a file"):
            read_json(path)


def test_a_file_of_a_gigabyte_is_refused_unread(tmp_path):
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(TelemetryFormatError, match=r"huge\.json has 1,073,741,824 bytes, more than the limit"):
        read_json(path)


def test_iterators_are_written_entry_by_entry(tmp_path):
    document = {"a": 1, "rows": iter([{"n": 1}, {"n": None}]), "deep": [{"none": iter([])}], "ü": ["é"]}
    path = write_json_atomically(tmp_path / "rows.json", document)
    assert json.loads(path.read_text()) == {"a": 1, "rows": [{"n": 1}, {"n": None}], "deep": [{"none": []}], "ü": ["é"]}
    assert '{"n": 1},\n{"n": null}\n]' in path.read_text()


def test_an_entry_that_json_does_not_have_leaves_the_old_file(tmp_path):
    path = write_json_atomically(tmp_path / "rows.json", {"rows": iter([1])})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_json_atomically(path, {"rows": iter([1, math.nan])})
    assert (path.read_bytes(), [*tmp_path.iterdir()]) == (before, [path])
