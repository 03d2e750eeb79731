# SPDX-License-Identifier: MIT
"""Real exports of Nsight Systems 2022 to 2026, where there are any: every name of a range against a naive count."""

import json
import sqlite3
from collections import defaultdict
from contextlib import closing

import pytest

from tests.support.command import run
from tests.support.nsys_files import real_exports
from virnuc_profiler.analysis.nsys.gpu_work import divide_work
from virnuc_profiler.analysis.nsys.operator_totals import divide_self_time
from virnuc_profiler.analysis.nsys.projection import project
from virnuc_profiler.analysis.nsys.totals import total_by_device, total_by_name
from virnuc_profiler.reports.captures.nsys_export import read_nsys_export
from virnuc_profiler.reports.captures.projected_capture import project_capture

FOLDER = real_exports()
FILES = sorted(FOLDER.glob("*.sqlite")) if FOLDER else []

pytestmark = pytest.mark.skipif(not FILES, reason="there are no exports in VIRNUC_NSYS_EXPORTS or shared/data/nsys")


def named(part):
    found = [file for file in FILES if part in file.name]
    return found[0] if found else pytest.skip(f"no export is named {part}")


def naive_gpu_time(path):
    """GPU time by name: for each call that launched something, the ranges around it, one by one."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        work = defaultdict(dict)
        for kind in ("KERNEL", "MEMCPY", "MEMSET", "GRAPH_TRACE"):
            if f"CUPTI_ACTIVITY_KIND_{kind}" in tables:
                query = f"SELECT rowid, globalPid, correlationId, start, end FROM CUPTI_ACTIVITY_KIND_{kind}"
                for row, process, correlation, start, end in database.execute(query):
                    work[process // 2**24, correlation][kind, row] = end - start
        ranges = defaultdict(list)
        if "NVTX_EVENTS" in tables:
            query = (
                "SELECT COALESCE(StringIds.value, text), globalTid, start, end FROM NVTX_EVENTS"
                " LEFT JOIN StringIds ON id = textId WHERE eventType IN (59, 60) AND end IS NOT NULL"
            )
            for name, thread, start, end in database.execute(query):
                ranges[thread].append((start, end, name))
        times = {}
        query = "SELECT globalTid, correlationId, start, end FROM CUPTI_ACTIVITY_KIND_RUNTIME"
        for thread, correlation, start, end in database.execute(query):
            before = times.get((thread, correlation), (start, end))
            times[thread, correlation] = (min(start, before[0]), max(end, before[1]))
    by_name = {name: {} for sublist in ranges.values() for *_, name in sublist}
    for (thread, correlation), (start, end) in times.items():
        launched = work.get((thread // 2**24, correlation), {})
        for range_start, range_end, name in ranges[thread] if launched else ():
            if range_start <= start and end <= range_end:
                by_name[name].update(launched)
    return {name: sum(launched.values()) for name, launched in by_name.items()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_gpu_time_of_every_range_is_what_a_naive_count_gives(path):
    capture = read_nsys_export(path)
    totals = total_by_name(project(capture.ranges, capture.calls, capture.operations))
    assert {total.name: total.total_ns for total in totals} == naive_gpu_time(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_command_reads_every_file_at_once(path, tmp_path):
    finished = run("correlate", path, "--json", tmp_path / "out.json")
    assert finished.code == 0
    assert all(line.endswith(" ...") for line in finished.err.splitlines())  # says what it does if that takes long
    assert json.loads((tmp_path / "out.json").read_text())["kind"] == "virnuc_profiler correlation"


def test_duplicate_rows_of_2022_do_not_double_gpu_time():
    path = named("mpi_saxpy")
    capture = read_nsys_export(path)
    saxpy, *others = total_by_name(project(capture.ranges, capture.calls, capture.operations))
    assert (saxpy.domain, saxpy.name, saxpy.ranges, saxpy.total_ns) == ("default", "saxpy", 5, 88_573_480)
    assert {other.domain for other in others} == {"MPI"}
    finished = run("correlate", path, "--range", "saxpy")
    assert "88.573" in finished.out
    assert "177." not in finished.out


def test_graphs_count_without_ranges():
    capture = read_nsys_export(named("cuda_graphs"))
    (device,) = total_by_device(capture.operations)
    assert len(capture.ranges) == 0
    assert (device.operations, sum(kernel.kind == "graph" for kernel in device.kernels)) == (6, 1)


def test_two_devices():
    capture = read_nsys_export(named("h100_2gpu"))
    assert len(capture.ranges) == 16_782
    assert [(total.device, total.operations) for total in total_by_device(capture.operations)] == [(0, 2184), (1, 2184)]


def test_gpu_work_without_a_launch_is_stated(tmp_path):
    path = named("h100_2gpu")
    capture = read_nsys_export(path)
    work = divide_work(project(capture.ranges, capture.calls, capture.operations))
    assert (work.all.operations, work.without_launch.operations) == (4368, 2276)
    assert work.share_in_ranges == pytest.approx(0.562, abs=0.001)
    assert "Warning: 43.8% of the GPU time was not launched in these ranges" in run("correlate", path).out


def test_a_capture_of_pytorch_has_a_line_for_each_operator_and_explains_all_gpu_time(tmp_path):
    path = named("h100_2gpu")
    finished = run("correlate", path, "--range", "aten::copy_*", "--json", tmp_path / "out.json")
    assert len(finished.out.splitlines()) < 50  # 2,840 where every range has its line
    assert max(map(len, finished.out.splitlines())) <= 80
    document = json.loads((tmp_path / "out.json").read_text())
    (copy,) = document["operators"]
    assert (copy["name"], copy["ranges"], copy["operations"]) == ("aten::copy_", 1184, 568)
    assert sum(document["self_times"]["all_ns"]) == document["gpu_work"]["all"]["total_ns"]
    assert sum(device["self_ns"] for device in copy["devices"]) == copy["self_ns"] == copy["total_ns"]
    everything = run("correlate", path)
    assert "aten::mm " in everything.out
    assert "(in no range)" in everything.out
    assert "Not shown: 166 operators with 0.0373% of all GPU time" in everything.out


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_self_times_and_work_in_no_range_are_all_gpu_time(path):
    projected = project_capture(path)
    times = divide_self_time(projected.operators, 3)
    work = projected.work
    assert int(times.all.sum()) == work.all.total_ns == sum(device.total_ns for device in projected.devices)
    assert int(times.no_range.sum()) == work.all.total_ns - work.in_ranges.total_ns
    assert int(times.other_ranges.sum()) == 0
    assert all(total.self_ns <= total.total_ns for total in projected.operators)
