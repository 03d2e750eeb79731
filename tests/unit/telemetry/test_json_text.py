# SPDX-License-Identifier: MIT
import json
import tracemalloc

import pytest

from virnuc_profiler.telemetry.json_text import parse_json, require_plain


@pytest.mark.parametrize(
    "value", [None, True, 0, -(2**70), 1.5, "\ud800", "é\U0001f9ec\0\x1b", [], {}, [1, {"a": [None]}], {"": {"": 0}}]
)
def test_what_json_says_is_what_is_read(value):
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "Expecting value"),
        (b"\xff", "utf-8"),
        (b"\xff\xfe1\x00", "utf-8"),  # UTF-16 is not detected
        (b"NaN", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"1e400", "beyond the range"),
        (b'{"a": [-1e400]}', "beyond the range"),
        (b"9" * 1_000_000, "digits"),
        (b"[" * 100_000, "too many to read safely|nested"),
        (b"[" * 60_000, "nested more than 32"),
        (b"[" * 40 + b"]" * 40, "nested more than 32"),
        (b'{"a":' * 40 + b"0" + b"}" * 40, "nested more than 32"),
        (b'{"a": 1, "a": 1}', "has the name 'a' twice"),
        (b'[{"b": {"\\u001b[2J": 1, "x": 2, "\\u001b[2J": 3}}]', r"has the name '\\x1b\[2J' twice"),
    ],
)
def test_what_is_refused_and_why(text, why):
    with pytest.raises(ValueError, match=why) as caught:
        parse_json(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_as_deep_as_it_is_written_it_is_read():
    assert parse_json(b"[" * 32 + b"]" * 32)


def test_a_swarm_of_containers_is_refused_before_it_is_made():
    text = b"[" + b"{}," * 1_000_000 + b"0]"
    tracemalloc.start()
    with pytest.raises(ValueError, match="1,000,001 lists and objects in 3,000,003 bytes"):
        parse_json(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize(
    "item",
    [
        b'{"a":0}        ',
        b'{"":{"":{"":{"":0}}}}' + b" " * 42,
        b"[]             ",
        b'{"a":{},"b":[]}' + b",2.5" * 8,
        b"1.5",
    ],
)
def test_memory_is_in_proportion_to_the_text(item):
    text = b"[" + b",".join([item] * (1_000_000 // len(item))) + b"]"
    tracemalloc.start()
    parse_json(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 * len(text)


def test_documents_of_our_own_are_held_to_the_same():
    with pytest.raises(ValueError, match="beyond the range"):
        require_plain({"a": [float("inf")]})
