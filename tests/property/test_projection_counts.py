# SPDX-License-Identifier: MIT
"""Projections and totals compared with counting, ns by ns, over every combination of range, call and operation."""

from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gpu_records import project_records
from virnuc_profiler.analysis.nsys.gpu_capture import Operations
from virnuc_profiler.analysis.nsys.gpu_records import ApiCall, GpuOperation, NvtxRange
from virnuc_profiler.analysis.nsys.gpu_work import divide_work
from virnuc_profiler.analysis.nsys.operator_totals import divide_self_time, total_by_operator
from virnuc_profiler.analysis.nsys.self_time import innermost_ranges
from virnuc_profiler.analysis.nsys.totals import total_by_device, total_by_name

PROCESSES = (1 << 24, 2 << 24)
THREADS = tuple(process + number for process in PROCESSES for number in (0, 1))
KINDS = ("kernel", "memcpy", "graph")

moments = st.integers(0, 40)
stretches = st.tuples(moments, st.integers(0, 20)).map(lambda pair: (pair[0], pair[0] + pair[1]))
ranges = st.lists(st.tuples(st.sampled_from(THREADS), stretches), max_size=6)
calls = st.lists(st.tuples(st.sampled_from(THREADS), st.integers(1, 4), stretches), max_size=12)
operations = st.lists(
    st.tuples(st.sampled_from(PROCESSES), st.integers(1, 4), st.integers(0, 1), stretches, st.sampled_from(KINDS)),
    max_size=12,
)


def launched_inside(range_, all_calls, all_operations):
    """Return the indices of the operations of a range by exhaustive search."""
    found = set()
    for number, operation in enumerate(all_operations):
        siblings = [other for other in all_operations if other[:2] == operation[:2]]
        if operation.kind == "graph" and any(other.kind != "graph" for other in siblings):
            continue
        rows = [
            call
            for call in all_calls
            if call.thread == range_.thread
            and call.correlation == operation.correlation
            and call.thread // 2**24 == operation.process // 2**24
        ]
        if rows and all(range_.start_ns <= row.start_ns and row.end_ns <= range_.end_ns for row in rows):
            found.add(number)
    return found


def records(some_ranges, some_calls, some_operations):
    """Return the records of a capture. Two names take turns, and each operation is named for its number."""
    return (
        [NvtxRange("", "ab"[at % 2], None, thread, *times) for at, (thread, times) in enumerate(some_ranges)],
        [ApiCall(thread, correlation, *times) for thread, correlation, times in some_calls],
        [
            GpuOperation(process, correlation, device, *times, kind, str(number))
            for number, (process, correlation, device, times, kind) in enumerate(some_operations)
        ],
    )


def counted(all_operations):
    """Return the indices of the operations that count: no graphs whose nodes are there too."""
    keys = {operation[:2] for operation in all_operations if operation.kind != "graph"}
    return {at for at, operation in enumerate(all_operations) if operation.kind != "graph" or operation[:2] not in keys}


@given(ranges, calls, operations)
def test_a_projection_is_what_counting_gives(some_ranges, some_calls, some_operations):
    all_ranges, all_calls, all_operations = records(some_ranges, some_calls, some_operations)
    projections = project_records(all_ranges, all_calls, all_operations)
    assert [projection.range for projection in projections] == all_ranges
    for projection in projections:
        expected = launched_inside(projection.range, all_calls, all_operations)
        inside = [all_operations[number] for number in expected]
        assert {int(operation.name) for operation in projection.operations} == expected
        assert len(projection.operations) == len(expected)
        assert projection.total_ns == sum(operation.duration_ns for operation in inside)
        covered = {at for operation in inside for at in range(operation.start_ns, operation.end_ns)}
        assert projection.busy_ns == len(covered)
        if inside:
            assert projection.span_ns == max(o.end_ns for o in inside) - min(o.start_ns for o in inside)
            assert projection.devices == tuple(sorted({o.device for o in inside}))
            between = sorted(set(range(min(covered), max(covered))) - covered) if covered else []
            assert projection.gaps == sum(at - 1 not in between for at in between)
        else:
            assert projection.span_ns is projection.launch_delay_ns is None


@given(ranges, calls, operations)
def test_totals_count_each_operation_of_a_name_or_device_once(some_ranges, some_calls, some_operations):
    all_ranges, all_calls, all_operations = records(some_ranges, some_calls, some_operations)
    totals = total_by_name(project_records(all_ranges, all_calls, all_operations))
    expected = {
        name: set().union(
            *(launched_inside(range_, all_calls, all_operations) for range_ in all_ranges if range_.name == name)
        )
        for name in {range_.name for range_ in all_ranges}
    }
    times = {name: sum(all_operations[at].duration_ns for at in found) for name, found in expected.items()}
    assert {total.name: total.operations for total in totals} == {name: len(found) for name, found in expected.items()}
    assert {total.name: total.total_ns for total in totals} == times
    assert [total.total_ns for total in totals] == sorted(times.values(), reverse=True)
    assert [bool(total.operations) for total in totals] == totals.on_gpu.tolist()
    devices = total_by_device(Operations.from_records(all_operations))
    by_device = {}
    for at in counted(all_operations):
        operation = all_operations[at]
        by_device[operation.device] = by_device.get(operation.device, 0) + operation.duration_ns
    assert {device.device: device.total_ns for device in devices} == by_device


@given(ranges, calls, operations)
def test_totals_from_columns_are_totals_from_records(some_ranges, some_calls, some_operations):
    totals = total_by_name(project_records(*records(some_ranges, some_calls, some_operations)))
    with (
        mock.patch("virnuc_profiler.analysis.nsys.totals._MAX_RECORDS", 0),
        mock.patch("virnuc_profiler.analysis.nsys.range_work._LAUNCHES_AT_ONCE", 3),
    ):
        from_columns = list(totals)
    assert from_columns == list(totals)


@given(ranges, calls, operations)
def test_self_times_are_those_of_the_innermost_ranges(some_ranges, some_calls, some_operations):
    all_ranges, all_calls, all_operations = records(some_ranges, some_calls, some_operations)
    projections = project_records(all_ranges, all_calls, all_operations)
    chosen = np.array([at for at, range_ in enumerate(all_ranges) if range_.name == "a"], np.int64)
    totals = total_by_operator(projections, innermost_ranges(projections), chosen)
    around = {at: set() for at in counted(all_operations)}
    for number, range_ in enumerate(all_ranges):
        for at in launched_inside(range_, all_calls, all_operations):
            around[at].add(number)
    expected = {"a": 0, "b": 0, None: 0}
    for at, numbers in around.items():
        inner = max(numbers, key=lambda n: (all_ranges[n].start_ns, -all_ranges[n].end_ns, n), default=None)
        expected[None if inner is None else all_ranges[inner].name] += all_operations[at].duration_ns
    times = divide_self_time(totals, 1)
    assert int(times.operators.sum()) == expected["a"]
    assert int(times.other_ranges.sum()) == expected["b"]
    assert int(times.no_range.sum()) == expected[None]
    assert int(times.all.sum()) == sum(expected.values())
    for total in totals:
        inside = [
            all_operations[at] for at, numbers in around.items() if any(all_ranges[n].name == "a" for n in numbers)
        ]
        assert (total.self_ns, total.total_ns) == (expected["a"], sum(one.duration_ns for one in inside))
        assert total.operations == len(inside)
        assert sum(device.total_ns for device in total.devices) == total.total_ns
        assert sum(device.self_ns for device in total.devices) == total.self_ns


@given(ranges, calls, operations)
def test_every_operation_is_in_one_part_of_the_gpu_work(some_ranges, some_calls, some_operations):
    all_ranges, all_calls, all_operations = records(some_ranges, some_calls, some_operations)
    work = divide_work(project_records(all_ranges, all_calls, all_operations))
    inside = set().union(*(launched_inside(range_, all_calls, all_operations) for range_ in all_ranges))
    launches = {}
    for call in all_calls:
        start, end = launches.get(call[:2], call[2:])
        launches[call[:2]] = min(start, call.start_ns), max(end, call.end_ns)
    parts = dict.fromkeys(("in_ranges", "other_threads", "outside_ranges", "without_launch"), 0)
    for at in counted(all_operations):
        operation = all_operations[at]
        found = [
            (thread, start)
            for (thread, correlation), (start, _) in launches.items()
            if thread // 2**24 == operation.process // 2**24 and correlation == operation.correlation
        ]
        parts[
            "in_ranges" if at in inside
            else "other_threads" if any(open_elsewhere(*launch, all_ranges) for launch in found)
            else "outside_ranges" if found
            else "without_launch"
        ] += 1  # fmt: skip
    assert {name: getattr(work, name).operations for name in parts} == parts
    assert work.all.operations == sum(parts.values()) == len(counted(all_operations))
    assert work.all.total_ns == sum(getattr(work, name).total_ns for name in parts)


def open_elsewhere(thread, start, all_ranges):
    """Whether a call begins while a range of its process is open, but none of its own thread."""
    around = [range_ for range_ in all_ranges if range_.start_ns <= start <= range_.end_ns > range_.start_ns]
    same_process = {range_.thread for range_ in around if range_.thread // 2**24 == thread // 2**24}
    own = any(range_.thread == thread and range_.start_ns <= start <= range_.end_ns for range_ in all_ranges)
    return bool(same_process) and not own
