# SPDX-License-Identifier: MIT
"""Projections of ranges onto the GPU, computed by hand."""

import pytest

from tests.support.gpu_records import project_records
from tests.support.nsys_files import OTHER_PROCESS, OTHER_THREAD, PROCESS, THREAD
from virnuc_profiler.analysis.nsys.gpu_capture import Operations
from virnuc_profiler.analysis.nsys.gpu_records import ApiCall, GpuOperation, NvtxRange, process_of
from virnuc_profiler.analysis.nsys.totals import range_total, total_by_device, total_by_kernel, total_by_name


def range_of(start, end, name="forward", thread=THREAD):
    return NvtxRange("default", name, None, thread, start, end)


def op(correlation, start, end, kind="kernel", *, name="gemm", device=0, process=PROCESS):
    return GpuOperation(process, correlation, device, start, end, kind, name)


def call(correlation, start, end=None, thread=THREAD):
    return ApiCall(thread, correlation, start, start + 2 if end is None else end)


def project_one(calls, operations, range_=None):
    (projection,) = project_records([range_ or range_of(0, 100)], calls, operations)
    return projection


def test_the_figures_of_a_range():
    calls = [call(1, 10), call(2, 20), call(3, 30)]
    operations = [op(1, 200, 260), op(2, 250, 300, "memcpy"), op(3, 400, 410, device=1)]
    projection = project_one(calls, operations)
    assert (projection.total_ns, projection.kernel_ns, projection.busy_ns) == (120, 70, 110)
    assert (projection.start_ns, projection.end_ns, projection.span_ns, projection.idle_ns) == (200, 410, 210, 100)
    assert (projection.gaps, projection.longest_gap_ns, projection.devices) == (1, 100, (0, 1))
    assert projection.launch_delay_ns == 190


def test_a_range_that_launches_nothing_has_no_times():
    projection = project_one([call(1, 200)], [op(1, 210, 220)])
    assert (projection.operations, projection.span_ns, projection.idle_ns) == ((), None, None)
    assert projection.launch_delay_ns is None


def test_the_delay_is_of_the_operation_that_starts_first_not_of_the_call_that_does():
    assert project_one([call(1, 10), call(2, 20)], [op(1, 300, 310), op(2, 100, 110)]).launch_delay_ns == 80


def test_several_rows_of_one_call_launch_once():
    calls = [call(1, 10, 20), call(1, 11, 19), call(1, 12, 18)]
    assert project_one(calls, [op(1, 50, 60)]).total_ns == 10


@pytest.mark.parametrize(
    ("row", "inside"), [((0, 2), True), ((98, 100), True), ((-1, 5), False), ((95, 101), False), ((200, 202), False)]
)
def test_a_call_counts_from_start_to_end_inside_the_range(row, inside):
    assert bool(project_one([call(1, *row)], [op(1, 50, 60)]).operations) is inside


def test_a_call_whose_rows_reach_out_of_the_range_is_not_inside():
    assert not project_one([call(1, 50, 60), call(1, 49, 120)], [op(1, 70, 80)]).operations


def test_a_call_of_another_thread_is_not_the_ranges():
    assert not project_one([call(1, 10, thread=OTHER_THREAD)], [op(1, 50, 60)]).operations


def test_processes_that_use_the_same_correlation_ids_are_kept_apart():
    operations = [op(1, 50, 60), op(1, 50, 90, process=OTHER_PROCESS)]
    assert project_one([call(1, 10)], operations).total_ns == 10
    other = project_one([call(1, 10, thread=OTHER_PROCESS + 1)], operations, range_of(0, 100, thread=OTHER_PROCESS + 1))
    assert other.total_ns == 40


def test_an_operation_belongs_to_every_range_around_its_launch():
    ranges = [range_of(0, 100, "outer"), range_of(10, 50, "inner"), range_of(60, 90, "later")]
    outer, inner, later = project_records(ranges, [call(1, 20), call(2, 70)], [op(1, 30, 40), op(2, 80, 100)])
    assert (outer.total_ns, inner.total_ns, later.total_ns) == (30, 10, 20)


def test_ranges_that_overlap_by_hand_are_no_trouble():
    first, second = project_records([range_of(0, 30), range_of(15, 50)], [call(1, 20)], [op(1, 60, 70)])
    assert first.total_ns == second.total_ns == 10


def test_the_nodes_of_a_graph_count_once_each_and_the_graph_not_on_top():
    nodes = [op(1, 50, 60), op(1, 60, 65)]
    assert project_one([call(1, 10)], [op(1, 50, 65, "graph"), *nodes]).total_ns == 15
    assert project_one([call(1, 10)], [op(1, 50, 65, "graph")]).kernel_ns == 15


@pytest.mark.parametrize("thread", [0x7FFF_FFFF_FF00_0001, -5])
def test_ids_of_64_bits_keep_their_process(thread):
    assert process_of(thread) == thread - thread % 2**24


def test_times_beyond_what_floats_hold_are_exact():
    base = 2**62 + 1
    projection = project_one([call(1, base)], [op(1, base + 10, base + 13)], range_of(base, base + 100))
    assert (projection.start_ns, projection.busy_ns) == (base + 10, 3)


def test_totals_by_name_count_an_operation_once_where_ranges_of_one_name_nest():
    ranges = [range_of(0, 100), range_of(10, 50), range_of(60, 90, "other")]
    total, other = total_by_name(project_records(ranges, [call(1, 20), call(2, 70)], [op(1, 30, 40), op(2, 80, 85)]))
    assert (total.name, total.ranges, total.operations, total.total_ns) == ("forward", 2, 2, 15)
    assert (other.name, other.total_ns) == ("other", 5)


def test_operations_that_look_alike_all_count():
    projections = project_records([range_of(0, 100)], [call(1, 20)], [op(1, 30, 40), op(1, 30, 40)])
    total = range_total("default", "forward", projections)
    assert (total.operations, total.total_ns, total.busy_ns) == (2, 20, 10)


def test_medians_are_of_the_ranges_that_launched_something():
    ranges = [range_of(0, 10), range_of(20, 30), range_of(40, 50)]
    total = range_total(
        "default", "forward", project_records(ranges, [call(1, 1), call(2, 21)], [op(1, 5, 15), op(2, 30, 60)])
    )
    assert (total.ranges, total.ranges_on_gpu, total.median_span_ns, total.median_launch_delay_ns) == (3, 2, 20, 6.5)
    assert range_total("default", "none", []).median_busy_ns is None


def test_kernels_and_devices():
    operations = [
        op(1, 0, 10),
        op(2, 5, 25, name="gelu", device=1),
        op(3, 20, 30),
        op(4, 30, 31, "memset", name="memset"),
    ]
    first, second, third = total_by_kernel(Operations.from_records(operations))
    assert [(kernel.name, kernel.operations, kernel.total_ns) for kernel in (first, second, third)] == [
        ("gelu", 1, 20),
        ("gemm", 2, 20),
        ("memset", 1, 1),
    ]
    zero, one = total_by_device(Operations.from_records(operations))
    assert (zero.device, zero.busy_ns, zero.span_ns, zero.kernel_ns) == (0, 21, 31, 20)
    assert (one.device, one.operations) == (1, 1)


def test_a_device_counts_a_graph_by_its_nodes_if_these_were_traced_too():
    nodes = [op(1, 50, 60), op(1, 60, 65)]
    (total,) = total_by_device(Operations.from_records([op(1, 50, 65, "graph", name="CUDA graph 1"), *nodes]))
    assert (total.operations, total.total_ns, total.kernel_ns, total.busy_ns) == (2, 15, 15, 15)
    assert [kernel.name for kernel in total.kernels] == ["gemm"]
    (alone,) = total_by_device(Operations.from_records([op(1, 50, 65, "graph")]))
    assert (alone.operations, alone.total_ns) == (1, 15)


def test_an_operation_that_two_threads_launched_counts_once_for_a_name():
    calls = [call(1, 10), call(1, 20, thread=OTHER_THREAD)]
    projections = project_records([range_of(0, 100), range_of(0, 100, thread=OTHER_THREAD)], calls, [op(1, 50, 60)])
    (total,) = total_by_name(projections)
    assert (total.ranges, total.ranges_on_gpu, total.operations, total.total_ns) == (2, 2, 1, 10)


def test_totals_come_in_the_order_of_their_gpu_time_and_then_of_their_first_ranges():
    names = ["idle", "short", "long", "also idle"]
    ranges = [range_of(20 * number, 20 * number + 10, name) for number, name in enumerate(names)]
    totals = total_by_name(project_records(ranges, [call(1, 21), call(2, 41)], [op(1, 50, 55), op(2, 60, 90)]))
    assert [total.name for total in totals] == ["long", "short", "idle", "also idle"]
    assert totals.on_gpu.tolist() == [True, True, False, False]
    assert [total.name for total in totals.largest(2)] == ["long", "short"]
