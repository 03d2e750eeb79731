# SPDX-License-Identifier: MIT
"""Traces as Perfetto's own trace processor reads them: counts and times are the run's own, whatever the run is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.run_records import MS, batch, packing, run_of, samples, stage
from tests.support.trace_processor import TraceProcessor, require_trace_processor
from virnuc_profiler.analysis.diagnosis.bottlenecks import LABELS
from virnuc_profiler.analysis.summary.run_summary import run_summary
from virnuc_profiler.reports.export.exported_files import write_trace
from virnuc_profiler.reports.export.run_part import part_of_run
from virnuc_profiler.telemetry.parts.start_up_records import LOADING_MODEL, StartUpPart, StartUpRecord
from virnuc_profiler.telemetry.records import PROCESS, DeviceCapture, GpuReading, StopRecord
from virnuc_profiler.telemetry.run_result import RunResult

DATA = Path(__file__).parents[3] / "data"
H200 = DATA / "h200" / "run_650m.json"
OLDER = sorted(DATA.glob("v1.*/run_*.json"))
HOSTILE = "<script>alert(1)</script>\"'\x1b[2J\u202e=1+1\ud800\0" + "x" * 10_000


@pytest.fixture(scope="module", autouse=True)
def trace_processor():
    require_trace_processor()


@pytest.fixture
def opened(tmp_path):
    """Return a function that opens the trace of some runs."""
    processors = []

    def opened(*runs):
        path = tmp_path / f"{len(processors)}.pftrace"
        write_trace(path, runs)
        processors.append(TraceProcessor(path.read_bytes()))
        return processors[-1]

    yield opened
    for processor in processors:
        processor.__exit__()


def slices_by_track(trace):
    """Return the number of slices, their total time and their greatest depth by the name of their track."""
    rows = trace.query(
        "select coalesce(t.name, th.name) as track, count(*) as slices, sum(s.dur) as total, max(s.depth) as depth "
        "from slice s join track t on s.track_id = t.id left join thread_track tt on tt.id = t.id "
        "left join thread th using (utid) group by 1"
    )
    return {row["track"]: (row["slices"], row["total"], row["depth"]) for row in rows}


def total(starts, ends):
    return len(starts), int((ends - starts).sum()), 0


def assert_the_runs_own(trace, run):
    """Check that a trace has every stage, batch and gap of a run, with its duration, in rows that do not overlap."""
    assert trace.problems() == []
    found = slices_by_track(trace)
    stages, columns = run.batches.stages, run.batches.columns
    collating, device = stages.named({"collate"}), stages.on_device
    host = {"collating": collating, "loop": ~collating}
    for name, rows in host.items():
        assert found.get(name, (0, 0, 0)) == total(stages.host_start_ns[rows], stages.host_end_ns[rows])
    for name, own in (("h2d", {"h2d"}), ("d2h", {"d2h"}), ("", set(stages.names) - {"h2d", "d2h"})):
        rows = device & stages.named(own)
        expected = total(stages.device_start_ns[rows], stages.device_end_ns[rows])
        assert found.get(f"CUDA stream {name}".strip(), (0, 0, 0)) == expected
    assert found.get("batches in flight", (0, 0, 0)) == total(columns["host_start_ns"], columns["host_end_ns"])
    gaps = run_summary(run).get("device_gap_seconds") or {}
    for cause, seconds in gaps.items():
        idle = f"select sum(dur) from slice where name = '{LABELS[cause]}' and track_id in (select id from track where name = 'CUDA streams: outside of stages')"  # noqa: E501
        assert (trace.value(idle) or 0) == round(seconds * 1e9)
    linked = device & ~collating
    assert trace.value("select count(*) from flow") == int(linked.sum())
    # Each arrow goes from a stage on the host to the same stage of the same batch on the device.
    arrows = trace.query(
        "select a.name as name, b.name as other, extract_arg(a.arg_set_id, 'debug.batch') as batch, "
        "extract_arg(b.arg_set_id, 'debug.batch') as its, b.ts - a.ts as later, b.dur as dur "
        "from flow f join slice a on a.id = f.slice_out join slice b on b.id = f.slice_in"
    )
    assert all(arrow["name"] == arrow["other"] and arrow["batch"] == arrow["its"] for arrow in arrows)
    assert sorted(arrow["later"] for arrow in arrows) == sorted(
        (stages.device_start_ns - stages.host_start_ns)[linked].tolist()
    )


@pytest.mark.parametrize("path", [H200, *OLDER], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_real_run_is_all_there(opened, path):
    run = RunResult.load(path)
    assert_the_runs_own(opened(run), run)


def test_readings_throttling_and_facts_of_a_real_run(opened):
    run = RunResult.load(H200)
    trace = opened(run)
    counters = trace.query(
        "select t.name, t.unit, count(*) as n, max(c.value) as high from counter c join counter_track t "
        "on c.track_id = t.id group by 1"
    )
    by_name = {row["name"]: row for row in counters}
    names = ("power", "SM clock", "memory in use", "SM activity", "tensor core activity")
    assert {f"GPU {name}" for name in names} <= set(by_name)
    inside = [each for each in run.gpu.fast if run.host_start_ns < each.at_ns <= run.host_end_ns]
    assert by_name["GPU power"]["unit"] == "W"
    assert by_name["GPU power"]["high"] == pytest.approx(max(each.power_mw for each in inside) / 1e3)
    assert trace.value("select count(*) from slice where name = 'sw_power_cap'") >= 1
    facts = "select extract_arg(arg_set_id, 'debug.{}') from slice where name = 'run'"
    assert trace.value(facts.format("precision")) == "fp16"
    assert trace.value(facts.format("device")) == "NVIDIA H200"
    batch = trace.query(
        "select extract_arg(arg_set_id, 'debug.tokens') as tokens, extract_arg(arg_set_id, 'debug.batch') as batch "
        "from slice where name = 'batch' order by batch"
    )
    assert [row["tokens"] for row in batch] == run.batches.columns["tokens"].tolist()


def test_two_ranks_of_one_machine_share_a_clock(opened):
    first = RunResult.load(H200)
    metadata = {**first.metadata, "workload": {"part": {"index": 1, "count": 2}}}
    second = replace(part_of_run(first, slice(20, 50)), run_id="other", metadata=metadata)
    trace = opened(first, second)
    assert trace.problems() == []
    names = [row["name"] for row in trace.query("select name from process where name is not null order by pid")]
    assert names == ["rank 0: run_h200", "rank 1of2: other"]
    counts = trace.query(
        "select p.pid, count(*) as n, min(s.ts) as first from slice s join process_track t on s.track_id = t.id "
        "join process p using (upid) where s.name = 'batch' group by 1 order by 1"
    )
    assert [row["n"] for row in counts] == [60, 30]
    starts = [int(run.batches.columns["host_start_ns"].min()) for run in (first, second)]
    assert counts[1]["first"] - counts[0]["first"] == starts[1] - starts[0]
    assert trace.value("select count(*) from flow") == 3 * 90  # no arrow from one rank to another
    across = "select count(*) from flow f join slice a on a.id = f.slice_out join slice b on b.id = f.slice_in where extract_arg(a.arg_set_id, 'debug.batch') != extract_arg(b.arg_set_id, 'debug.batch')"  # noqa: E501
    assert trace.value(across) == 0


def test_ranks_of_two_machines_are_aligned_by_the_time_of_day(opened):
    first = run_of([batch(0, 0, 10)], 10)
    other = run_of([batch(0, 5_000, 5_010)], 5_020, start_ms=5_000)
    second = replace(other, started_at="2025-03-01T12:00:01+00:00")  # a second later, on a clock that began 4 s earlier
    trace = opened(first, second)
    starts = [row["ts"] for row in trace.query("select ts from slice where name = 'batch' order by ts")]
    assert starts[1] - starts[0] == 1000 * MS


def overlapping():
    """A run whose batches, stages and streams overlap in every way, and begin and end at the same moments."""
    batches = [
        batch(
            number,
            number,
            number + 7,
            [
                stage("fetch", number, number + 1),
                stage("collate", number - 0.5, number + 1.5),
                stage("forward", number + 1, number + 1, (number + 1, number + 4)),
                stage("forward", number + 1, number + 2, (number + 2, number + 2)),
                stage("d2h", number + 2, number + 3, (number + 4, number + 9)),
            ],
            packing([10, 20], 32) if number % 2 else None,
            dropped=number == 3,
        )
        for number in range(1, 12)
    ]
    return run_of(batches, 30, device=DeviceCapture("NVIDIA H200", timed=True))


def test_overlapping_stages_are_shown_in_rows_without_overlaps(opened):
    assert_the_runs_own(opened(overlapping()), overlapping())


def test_runs_without_much_in_them(opened):
    empty = run_of([], 0)
    cpu = run_of([batch(0, 0, 10, [stage("fetch", 0, 4), stage("forward", 4, 10)])], 10)
    for run, slices in ((empty, 1), (cpu, 4)):
        trace = opened(run)
        assert_the_runs_own(trace, run)
        assert trace.value("select count(*) from slice") == slices
        assert "not measured: no GPU" in trace.value(
            "select extract_arg(arg_set_id, 'debug.device times') from slice where name = 'run'"
        )


def test_start_up_and_stops(opened):
    parts = (StartUpPart(LOADING_MODEL, -300 * MS, -100 * MS), StartUpPart("my own", -50 * MS, 2 * MS))
    run = replace(
        run_of([batch(0, 0, 10)], 10),
        start_up=StartUpRecord(-400 * MS, True, parts),
        stops=(StopRecord(3 * MS, 5 * MS, PROCESS, 1),),
    )
    trace = opened(run)
    assert trace.problems() == []
    found = {row["name"]: row["dur"] for row in trace.query("select name, dur from slice")}
    assert found["loading the model"] == 200 * MS
    assert found["my own"] == 52 * MS
    assert found["process before the run"] == 400 * MS
    assert found["process stopped"] == 2 * MS


def test_hostile_names_and_numbers_are_text(opened):
    run = replace(
        run_of(
            [batch(0, 0, 10, [stage("fetch", 0, 4)]), batch(-5, 2**40, 2**41)],
            10,
            device=DeviceCapture(HOSTILE, reason=HOSTILE, sampling_reason=HOSTILE),
            gpu=samples(fast=(GpuReading(at_ns=5 * MS, power_mw=2**61, throttle_reasons=2**61),)),
            metadata={"config": {HOSTILE: HOSTILE}, "model_name": HOSTILE},
        ),
        run_id=HOSTILE,
        started_at=HOSTILE,
    )
    trace = opened(run)
    assert trace.problems() == []
    name = trace.value("select name from process where name is not null")
    assert name.startswith("<script>")  # a viewer escapes what it shows, but no terminal shows these
    assert not {"\x1b", "\u202e", "\0"} & set(name)
    assert len(name) <= 1100


def test_times_near_the_limits_of_a_file_keep_their_differences(opened):
    far = np.int64(2**62 - 10)
    table = run_of([batch(0, 0, 0)], 0)
    run = replace(table, host_start_ns=-int(far), host_end_ns=int(far))
    trace = opened(run)
    assert trace.value("select dur from slice where name = 'run'") == 2 * int(far)
