# SPDX-License-Identifier: MIT
"""Traces of captures, read by Perfetto's own trace processor."""

import pytest

from tests.support.nsys_files import NsysFile, real_exports, write_capture_of
from tests.support.run_records import MS, batch, run_of, stage
from tests.support.trace_processor import TraceProcessor, require_trace_processor
from virnuc_profiler.reports.captures.correlated_run import correlate_run
from virnuc_profiler.reports.captures.projected_capture import project_capture
from virnuc_profiler.reports.export.capture_trace import write_capture_trace
from virnuc_profiler.telemetry.records import DeviceCapture

UTC = 1_740_830_400_000 * MS  # run_of's started_at

SLICES = "select s.name, s.ts, s.dur, t.name as track from slice s join track t on s.track_id = t.id"


@pytest.fixture(autouse=True)
def trace_processor():
    require_trace_processor()


def traced(path, capture):
    write_capture_trace(path, capture)
    return TraceProcessor(path.read_bytes())


def test_ranges_calls_and_operations_are_there_and_arrows_connect_them(tmp_path):
    export = tmp_path / "x.sqlite"
    with NsysFile(export, utc_epoch_ns=1_700_000_000_000_000_000) as file:
        file.range("<b>step", 0, 1000, uint64Value=7)
        file.range("aten::mm, op_id = 3", 100, 300)
        file.launch(150, 5000, 9000)
        file.launch(400, 9000, 9500, kind="MEMCPY", device=1)
        graph = file.launch(500, 10_000, 11_000)
        file.work("KERNEL", 11_000, 12_500, graph)
        file.work("KERNEL", 20_000, 21_000, 999)
    with traced(tmp_path / "x.pftrace", project_capture(export)) as trace:
        assert trace.problems() == []
        found = {(row["name"], row["dur"]) for row in trace.query(SLICES)}
        assert {("<b>step", 1000), ("aten::mm, op_id = 3", 200), ("launch", 2)} <= found
        assert trace.value("select count(*) from slice where name = 'void kernel<int>(int)'") == 4
        assert trace.value("select count(*) from flow") == 3
        ends = trace.query(
            "select i.dur as call, o.dur as work from flow f join slice o on f.slice_in = o.id"
            " join slice i on f.slice_out = i.id order by o.ts"
        )
        assert [(row["call"], row["work"]) for row in ends] == [(2, 4000), (2, 500), (2, 1000)]
        processes = {row["name"] for row in trace.query("select name from process where name is not null")}
        assert {"process 7", "GPU 0", "GPU 1"} <= processes


def test_chosen_ranges_keep_what_they_launched(tmp_path):
    export = tmp_path / "x.sqlite"
    with NsysFile(export) as file:
        file.range("step", 0, 1000)
        file.range("load", 2000, 3000)
        file.launch(150, 5000, 9000)
        file.launch(2500, 9000, 9500, kind="MEMSET")
    with traced(tmp_path / "x.pftrace", project_capture(export, ranges=["load"])) as trace:
        assert {row["name"] for row in trace.query(SLICES)} == {"load", "launch", "memset"}


def test_a_run_lies_on_the_clock_of_its_capture(tmp_path):
    records = [
        batch(n, 20 * n, 20 * n + 15, (stage("forward", 20 * n + 1, 20 * n + 2, (20 * n + 3, 20 * n + 13)),))
        for n in range(10)
    ]
    run = run_of(records, 220, device=DeviceCapture("NVIDIA H200", timed=True))
    write_capture_of(run, tmp_path / "c.sqlite", offset_ns=70 * MS, utc_epoch_ns=UTC - 70 * MS)
    correlated = correlate_run(run, tmp_path / "c.sqlite")
    with traced(tmp_path / "c.pftrace", correlated) as trace:
        assert trace.problems() == []
        starts = trace.query("select ts from slice where name = 'forward' order by ts")
        kernels = trace.query("select ts, dur from slice where name = 'void kernel<int>(int)' order by ts")
        assert len(kernels) == 10
        assert len(starts) == 30  # of the run's host and device, and of the range
        first = starts[0]["ts"]
        assert all(min(abs(row["ts"] - first - 20 * n * MS) for row in starts) <= 5000 for n in range(10))
        assert kernels[0]["ts"] - first == pytest.approx(2 * MS, abs=10_000)


def test_a_capture_without_anything(tmp_path):
    export = tmp_path / "x.sqlite"
    with NsysFile(export):
        pass
    with traced(tmp_path / "x.pftrace", project_capture(export)) as trace:
        assert trace.problems() == []
        assert trace.value("select count(*) from slice") == 0


def test_real_captures_have_all_their_gpu_time(tmp_path):
    folder = real_exports()
    if folder is None:
        pytest.skip("there are no exports in VIRNUC_NSYS_EXPORTS or shared/data/nsys")
    for export in sorted(folder.glob("*.sqlite")):
        projected = project_capture(export)
        with traced(tmp_path / f"{export.stem}.pftrace", projected) as trace:
            assert trace.problems() == []
            times = trace.query(
                "select sum(s.dur) as ns, count(*) as n from slice s join process_track t on s.track_id = t.id"
                " join process p using (upid) where p.name glob 'GPU *'"
            )
            assert (times[0]["ns"], times[0]["n"]) == (projected.work.all.total_ns, projected.work.all.operations)
            ranges = trace.value("select count(*) from slice s join thread_track t on s.track_id = t.id")
            assert ranges <= projected.capture["ranges"]
