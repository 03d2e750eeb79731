# SPDX-License-Identifier: MIT
"""The counts of benchmarks/record_path.py."""

import pytest
from benchmarks.record_path import Trace, room, tracing

from virnuc_profiler.telemetry.rates import ratio


@pytest.mark.parametrize(
    ("file", "depth", "name"),
    [
        ("inference/packing/collator.py", 1, "inference"),
        ("inference/packing/collator.py", 2, "inference/packing"),
        ("inference/runner.py", 2, "inference"),
        ("errors.py", 1, "errors"),
        ("errors.py", 2, "errors"),
    ],
)
def test_rooms_are_the_first_folders_of_a_file(file, depth, name):
    assert room(file, depth) == name


def test_room_changes_are_counted_per_thread():
    a, b, c = ("sweep/x.py", 1, "f"), ("sweep/y.py", 1, "g"), ("capture/z.py", 1, "h")
    trace = Trace({1: [a, b, c, a], 2: [c, c]})
    assert trace.room_changes(1) == {"sweep -> capture": 1, "capture -> sweep": 1}
    assert trace.functions() == {a: 2, b: 1, c: 3}
    assert trace.files() == {"sweep/x.py": 1, "sweep/y.py": 1, "capture/z.py": 1}


def test_only_functions_of_the_package_are_traced():
    with tracing() as trace:
        ratio(1.0, 2.0)
        sorted([2, 1], key=lambda value: value)
    assert {(file, name) for file, _, name in trace.functions()} == {("telemetry/rates.py", "ratio")}
