# SPDX-License-Identifier: MIT
"""Projections compared with counting, ns by ns, over every combination of range, call and operation."""

from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler.analysis.nsys.gpu_records import ApiCall, GpuOperation, NvtxRange
from virnuc_profiler.analysis.nsys.projection import project

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


@given(ranges, calls, operations)
def test_a_projection_is_what_counting_gives(some_ranges, some_calls, some_operations):
    all_ranges = [NvtxRange("", "", None, thread, *times) for thread, times in some_ranges]
    all_calls = [ApiCall(thread, correlation, *times) for thread, correlation, times in some_calls]
    all_operations = [
        GpuOperation(process, correlation, device, *times, kind, str(number))
        for number, (process, correlation, device, times, kind) in enumerate(some_operations)
    ]
    projections = project(all_ranges, all_calls, all_operations)
    assert [projection.range for projection in projections] == all_ranges
    for projection in projections:
        expected = launched_inside(projection.range, all_calls, all_operations)
        inside = [all_operations[number] for number in expected]
        assert {int(operation.name) for operation in projection.operations} == expected
        assert len(projection.operations) == len(expected)
        assert projection.total_ns == sum(end - start for *_, start, end, _, _ in inside)
        covered = {at for *_, start, end, _, _ in inside for at in range(start, end)}
        assert projection.busy_ns == len(covered)
        if inside:
            assert projection.span_ns == max(o.end_ns for o in inside) - min(o.start_ns for o in inside)
            assert projection.devices == tuple(sorted({o.device for o in inside}))
            between = sorted(set(range(min(covered), max(covered))) - covered) if covered else []
            assert projection.gaps == sum(at - 1 not in between for at in between)
        else:
            assert projection.span_ns is projection.launch_delay_ns is None
