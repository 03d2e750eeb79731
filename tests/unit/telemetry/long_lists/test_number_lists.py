# SPDX-License-Identifier: MIT
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.telemetry.json_text import parse_json
from virnuc_profiler.telemetry.long_lists import number_lists
from virnuc_profiler.telemetry.long_lists.number_lists import (
    UnusualTextError,
    number_list_text,
    split_number_lists,
    whole_numbers,
)
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED
from virnuc_profiler.telemetry.typed_records import LARGEST

NAMES = ("a", "batches", "stages", "other")
TABLES = {"batches": NAMES, "stages": NAMES}

entries = st.none() | st.integers(-LARGEST, LARGEST) | st.integers(-20, 20)


def expected(values):
    return [NOT_MEASURED if value is None else value for value in values]


def is_list_of_whole_numbers(text):
    try:
        values = parse_json(b"[%s]" % text)
    except ValueError:
        return None
    kinds = all(value is None or (type(value) is int and abs(value) <= LARGEST) for value in values)
    return values if values and kinds else None


@given(st.lists(entries, min_size=1), st.sampled_from([", ", ",", ",\n", " ,\t", "\r\n,  "]))
def test_numbers_are_those_of_json(values, separator):
    text = separator.join(map(json.dumps, values)).encode()
    assert whole_numbers(b" %s\n" % text).tolist() == expected(values)


WORDS = ("0", "1", "12", "-1", "-", ",", " ", "null", "9223372036854775808", "-0", "01", "+", "1e2", "1.0", "true")


@given(st.text("0019-, \nnul.eE+x", max_size=14) | st.lists(st.sampled_from(WORDS), max_size=7).map("".join))
def test_what_is_not_a_list_of_whole_numbers_is_left_to_a_parser(text):
    values = is_list_of_whole_numbers(text.encode())
    if values is None:
        with pytest.raises(UnusualTextError):
            whole_numbers(text.encode())
    else:
        assert whole_numbers(text.encode()).tolist() == expected(values)


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b",", b",1", b"1,", b"1,,2", b"1 2", b"1\n2, 3", b"- 1", b"-", b"1,-", b"--1", b"1-2", b"01", b"-01",
     b"00", b"+1", b"1.0", b"1e2", b"true", b'"1"', b"[1]", b"{}", b"nul", b"null1", b"1null", b"nullnull", b"-null",
     b"null 1", b"Null", b"4611686018427387905", b"-4611686018427387905", b"-9223372036854775808",
     b"99999999999999999999", b"-99999999999999999999, null", b"\x0b1", b"1\x00", b"\xd9\xa1"],
)  # fmt: skip
def test_each_of_these_is_left_to_a_parser(text):
    with pytest.raises(UnusualTextError):
        whole_numbers(text)


@given(st.lists(entries, max_size=9))
def test_what_is_written_is_read(values):
    text = "".join(number_list_text(np.array(expected(values), np.int64)))
    assert json.loads(text) == values


values = st.recursive(
    st.none() | st.booleans() | entries | st.floats(-9, 9) | st.text('ab"\\[]{}:,\u00e9\ud800\0', max_size=6),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text('x"]\\', max_size=3), inside, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["batches", "stages", "other", "a", 'b"]', "\\"])
numbers = st.lists(entries, max_size=20)
documents = st.dictionaries(names, st.dictionaries(names, numbers | values, max_size=4) | numbers | values, max_size=5)


@given(documents, st.sampled_from([None, 1]), st.integers(3, 40))
def test_a_document_is_the_same_in_pieces_of_any_size(document, indent, block):
    data = json.dumps(document, indent=indent).encode()
    unusual = any(
        isinstance(value, list) and not all(entry is None or type(entry) is int for entry in value)
        for table in ("batches", "stages")
        if isinstance(document.get(table), dict)
        for name, value in document[table].items()
        if name in NAMES
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(number_lists, "_BLOCK_BYTES", block)
        try:
            text, lists = split_number_lists(io.BytesIO(data), TABLES)
        except UnusualTextError:
            assert unusual or block < 25  # a number that is longer than a block has no end in it
            return
    assert not unusual
    found = json.loads(text)
    for (table, name), column in lists.items():
        assert found[table][name] == []
        found[table][name] = [None if value == NOT_MEASURED else value for value in column.tolist()]
    assert found == json.loads(json.dumps(document))


def test_a_string_of_many_blocks_is_kept(monkeypatch):
    monkeypatch.setattr(number_lists, "_BLOCK_BYTES", 16)
    document = {"a": '\\"' * 5000 + "[", "stages": {"a": [1, 2], "x": [1]}}
    text, lists = split_number_lists(io.BytesIO(json.dumps(document).encode()), TABLES)
    assert json.loads(text) == {**document, "stages": {"a": [], "x": [1]}}
    assert lists[("stages", "a")].tolist() == [1, 2]


@pytest.mark.parametrize("text", [b'{"a', b'{"stages": {"a": [1, 2', b'{"stages": {"a": [1, 2], "b\\"'])
def test_what_has_no_end_is_left_to_a_parser(text):
    with pytest.raises(UnusualTextError):
        split_number_lists(io.BytesIO(text), TABLES)
