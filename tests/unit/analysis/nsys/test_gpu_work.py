# SPDX-License-Identifier: MIT
"""The GPU work of a capture, divided by what its ranges explain."""

from tests.support.gpu_records import project_records
from tests.support.nsys_files import OTHER_PROCESS, OTHER_THREAD, PROCESS, THREAD
from virnuc_profiler.analysis.nsys.gpu_capture import UNKNOWN_ID
from virnuc_profiler.analysis.nsys.gpu_records import ApiCall, GpuOperation, NvtxRange
from virnuc_profiler.analysis.nsys.gpu_work import WorkTotal, divide_work

STEP = NvtxRange("default", "step", None, THREAD, 0, 100)


def op(correlation, start, end, process=PROCESS, kind="kernel"):
    return GpuOperation(process, correlation, 0, start, end, kind, "gemm")


def parts(ranges, calls, operations):
    work = divide_work(project_records(ranges, calls, operations))
    return [part.operations for part in (work.in_ranges, work.outside_ranges, work.other_threads, work.without_launch)]


def test_each_operation_is_in_one_part():
    calls = [
        ApiCall(THREAD, 1, 10, 12),
        ApiCall(THREAD, 2, 200, 202),
        ApiCall(OTHER_THREAD, 3, 20, 22),
        ApiCall(OTHER_THREAD, 4, 300, 302),
    ]
    operations = [
        op(1, 500, 510),
        op(2, 505, 525),
        op(3, 530, 560),
        op(4, 600, 640),
        op(5, 700, 750),
        op(-1, 800, 860, -1),
    ]
    work = divide_work(project_records([STEP], calls, operations))
    assert work.in_ranges == WorkTotal(1, 10, 10)
    assert work.outside_ranges == WorkTotal(2, 60, 60)
    assert work.other_threads == WorkTotal(1, 30, 30)
    assert work.without_launch == WorkTotal(2, 110, 110)
    assert work.all == WorkTotal(6, 210, 205)
    assert work.share_in_ranges == 10 / 210


def test_a_range_of_another_process_explains_nothing():
    calls, operations = [ApiCall(OTHER_PROCESS + 1, 1, 10, 12)], [op(1, 20, 30, OTHER_PROCESS)]
    assert parts([STEP], calls, operations) == [0, 1, 0, 0]


def test_a_thread_with_ranges_of_its_own_may_launch_between_them():
    own = NvtxRange("default", "load", None, OTHER_THREAD, 40, 60)
    assert parts([STEP, own], [ApiCall(OTHER_THREAD, 1, 10, 12)], [op(1, 20, 30)]) == [0, 0, 1, 0]
    assert parts([STEP, own], [ApiCall(OTHER_THREAD, 1, 45, 46)], [op(1, 50, 70)]) == [1, 0, 0, 0]


def test_a_call_that_straddles_the_end_of_its_range_is_outside():
    assert parts([STEP], [ApiCall(THREAD, 1, 90, 110)], [op(1, 120, 130)]) == [0, 1, 0, 0]


def test_a_graph_that_was_traced_by_node_too_counts_by_its_nodes():
    operations = [op(1, 20, 50, kind="graph"), op(1, 20, 30), op(1, 30, 45)]
    work = divide_work(project_records([STEP], [ApiCall(THREAD, 1, 10, 12)], operations))
    assert (work.all, work.in_ranges) == (WorkTotal(2, 25, 25), WorkTotal(2, 25, 25))


def test_operations_without_ids_are_no_graphs_of_each_other():
    graph, kernel = op(UNKNOWN_ID, 20, 50, UNKNOWN_ID, "graph"), op(UNKNOWN_ID, 60, 70, UNKNOWN_ID)
    assert divide_work(project_records([], [], [graph, kernel])).without_launch == WorkTotal(2, 40, 40)


def test_nothing_at_all():
    work = divide_work(project_records([], [], []))
    assert (work.all, work.share_in_ranges) == (WorkTotal(0, 0, 0), None)
