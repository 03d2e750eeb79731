# SPDX-License-Identifier: MIT
"""Self time and total time of operators."""

import numpy as np

from tests.support.gpu_records import project_records
from tests.support.nsys_files import PROCESS, THREAD
from virnuc_profiler.analysis.nsys.gpu_records import ApiCall, GpuOperation, NvtxRange
from virnuc_profiler.analysis.nsys.operator_totals import (
    DeviceShare,
    divide_self_time,
    total_by_operator,
)
from virnuc_profiler.analysis.nsys.self_time import innermost_ranges


def range_of(name, start, end):
    return NvtxRange("default", name, None, THREAD, start, end)


def op(correlation, duration, device=0):
    return GpuOperation(PROCESS, correlation, device, 1000 * correlation, 1000 * correlation + duration, "kernel", "k")


def totals_of(ranges, operations, chosen=None, sort_by="self"):
    """Each operation is launched at ten times its correlation id."""
    calls = [ApiCall(THREAD, one.correlation, 10 * one.correlation, 10 * one.correlation + 1) for one in operations]
    projections = project_records(ranges, calls, operations)
    shown = np.arange(len(ranges)) if chosen is None else np.array(chosen)
    return total_by_operator(projections, innermost_ranges(projections), shown, sort_by)


NESTED = [range_of("to", 0, 100), range_of("copy", 10, 50), range_of("to", 20, 40)]
WORK = [op(1, 5), op(3, 7), op(6, 11, device=1), op(20, 100)]
"""In copy; in the inner to; in the outer to; in no range."""


def test_an_operator_inside_itself_counts_each_operation_once():
    to, copy = totals_of(NESTED, WORK)
    assert (to.name, to.ranges, to.ranges_on_gpu, to.operations) == ("to", 2, 2, 3)
    assert (to.self_ns, to.total_ns, to.median_total_ns) == (18, 23, 15.0)
    assert (copy.self_ns, copy.total_ns) == (5, 12)
    assert to.devices == (DeviceShare(0, 7, 12), DeviceShare(1, 11, 11))


def test_self_times_and_what_is_in_no_range_are_all_gpu_time():
    times = divide_self_time(totals_of(NESTED, WORK), 1)
    assert times.devices == (0, 1)
    assert times.operators.tolist() == [[7, 11]]
    assert times.more_operators.tolist() == [5, 0]
    assert times.other_ranges.tolist() == [0, 0]
    assert times.no_range.tolist() == [100, 0]
    assert times.all.tolist() == [112, 11]


def test_ranges_that_are_not_shown_keep_their_self_time():
    totals = totals_of(NESTED, WORK, chosen=[1])
    (copy,) = totals
    assert (copy.self_ns, copy.total_ns) == (5, 12)
    assert divide_self_time(totals, 5).other_ranges.tolist() == [7, 11]


def test_order_by_self_time_or_by_total_time():
    ranges, work = [range_of("step", 0, 100), range_of("gemm", 5, 50)], [op(1, 9), op(6, 2)]
    assert [total.name for total in totals_of(ranges, work)] == ["gemm", "step"]
    assert [total.name for total in totals_of(ranges, work, sort_by="total")] == ["step", "gemm"]


def test_kernels_of_an_operator_count_once():
    (kernel,) = totals_of(NESTED, WORK).kernels(0)
    assert (kernel.operations, kernel.total_ns) == (3, 23)


def test_ranges_nested_a_hundred_thousand_deep():
    depth = 100_000
    ranges = [range_of("deep", at, 2 * depth + 10 - at) for at in range(depth)]
    calls, work = [ApiCall(THREAD, 1, depth, depth + 1)], [op(1, 3)]
    projections = project_records(ranges, calls, work)
    assert innermost_ranges(projections).tolist() == [depth - 1]


def test_nothing_at_all():
    totals = totals_of([], [])
    assert (len(totals), divide_self_time(totals, 10).all.tolist()) == (0, [])
