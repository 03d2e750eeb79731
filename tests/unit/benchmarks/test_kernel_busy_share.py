# SPDX-License-Identifier: MIT
"""Busy shares of one run by its capture of Nsight Systems, whose kernels are known."""

import pytest
from benchmarks.kernel_busy_share import claims, nsys_busy_ns

from tests.support.nsys_files import PROCESS, THREAD
from tests.support.run_records import MS, batch, run_of, stage
from virnuc_profiler.analysis.nsys.gpu_capture import Calls, GpuCapture, Operations, Ranges
from virnuc_profiler.analysis.nsys.gpu_records import ApiCall, GpuOperation, NvtxRange

OFFSET = 5_000_000_000


def captured_run(count=12):
    """Batches at uneven distances; in each one, two kernels of 2 ms fill 4 of the 6 ms of its stage."""
    batches, ranges, calls, operations = [], [], [], []
    for number in range(count):
        at = 10.0 * number + number * number % 3
        batches.append(batch(number, at, at + 8, [stage("forward", at, at + 1, (at + 2, at + 8))]))
        start = round(at * MS) + OFFSET
        ranges.append(NvtxRange("virnuc_profiler", "forward", number, THREAD, start + 1000, start + MS))
        for kernel in (0, 1):
            correlation = 2 * number + kernel
            begin = start + (3 + 3 * kernel) * MS
            calls.append(ApiCall(THREAD, correlation, start + 2000 + kernel, start + 3000 + kernel))
            operations.append(GpuOperation(PROCESS, correlation, 0, begin, begin + 2 * MS, "kernel", "gemm"))
    run = run_of(batches, 10 * count + 20)
    capture = GpuCapture(Ranges.from_records(ranges), Calls.from_records(calls), Operations.from_records(operations))
    return run, capture


def test_the_busy_time_of_a_capture_is_that_of_its_kernels_in_the_window():
    run, capture = captured_run()
    busy_ns, window_ns = nsys_busy_ns(run, capture, 3, 6)  # batches 3 to 8
    ends = [one.stages[0].device_end_ns for one in run.batches]
    assert window_ns == ends[8] - ends[2]
    assert busy_ns == pytest.approx(6 * 4 * MS, abs=10_000)  # the range begins a little after the run's clock was read


def test_another_run_is_refused():
    capture = captured_run()[1]
    other = run_of([batch(100, 0, 9, [stage("forward", 0, 1, (2, 8))])], 20)
    with pytest.raises(SystemExit, match="not of the same run"):
        nsys_busy_ns(other, capture, 101, 1)


def test_missing_batches_are_named():
    with pytest.raises(SystemExit, match="has 12 batches, and batches 7 to 14 are needed: run it again with more"):
        nsys_busy_ns(*captured_run(), 8, 7)


def test_claims_compare_at_the_pace_of_the_bare_run():
    stages, kernels, nsys = (
        f"{name}, bare pace"
        for name in ("in device stages, at most", "busy by captured kernels", "busy by Nsight Systems")
    )
    assert [one.holds for one in claims({stages: 0.99, kernels: 0.76, nsys: 0.75})] == [True, True]
    assert [one.holds for one in claims({stages: 0.70, kernels: 0.76, nsys: 0.80})] == [False, False]
    assert [one.holds for one in claims({stages: 0.99, kernels: None})] == [None, None]
