# SPDX-License-Identifier: MIT
"""A run on one time axis: its lanes, gaps, readings, and what is kept of a long one."""

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.long_runs import long_run

from tests.support.run_records import MS, batch, run_of, samples, stage
from virnuc_profiler.analysis.diagnosis.observation import observe
from virnuc_profiler.analysis.summary.batch_metrics import completion_intervals
from virnuc_profiler.analysis.timeline.batch_pace import batch_pace
from virnuc_profiler.analysis.timeline.idle_causes import IDLE_CAUSES, idle_time
from virnuc_profiler.analysis.timeline.run_timeline import timeline_of
from virnuc_profiler.analysis.timeline.sampled_curves import gpu_curves, throttling
from virnuc_profiler.analysis.timeline.time_buckets import bucket_edges
from virnuc_profiler.telemetry.records import DeviceCapture, GpmReading, GpuReading, SamplerTierRecord, StopRecord

TIMED = DeviceCapture("GPU", uuid="GPU-0", timed=True)


@pytest.fixture(scope="module")
def run():
    """Two thousand batches, of which one takes 50 ms longer."""
    return long_run(2000, slow_batch=1234)


def test_lanes_are_the_stages_on_host_and_device(run):
    lanes = timeline_of(run).lanes
    names = [(lane.name, lane.on_device) for lane in lanes]
    assert names[:3] == [("fetch", False), ("collate", False), ("h2d", False)]
    assert names[-3:] == [("h2d", True), ("forward", True), ("d2h", True)]
    assert {len(lane) for lane in lanes} == {2000}


def test_the_pace_is_that_of_the_metrics(run):
    pace = batch_pace(run.batches)
    found = list(zip(pace.since_ns.tolist(), pace.completed_ns.tolist(), strict=True))
    assert found == completion_intervals(run.batches)
    assert int(np.argmax(pace.interval_ns)) == 1234


def test_idle_time_is_that_of_the_diagnosis_and_fills_the_run(run):
    idle, gaps = idle_time(run), observe(run).whole
    totals = {name: int(idle.cause_ns[idle.cause == number].sum()) for number, name in enumerate(IDLE_CAUSES)}
    assert {name: ns for name, ns in totals.items() if ns} == {
        **{line.cause: line.total_ns for line in gaps.totals()}, "lead_in": gaps.lead_in_ns, "tail": gaps.tail_ns,
    }  # fmt: skip
    assert sum(totals.values()) + gaps.in_stages_ns == run.host_end_ns - run.host_start_ns


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        (set(), {"lead_in": 2, "not_measured": 0, "tail": 3}),
        ({0}, {"lead_in": 1, "not_measured": 11, "tail": 3}),
        ({2}, {"lead_in": 2, "not_measured": 11, "tail": 2}),
    ],
)
def test_idle_time_at_the_ends_is_not_known_where_device_times_were_lost(lost, expected):
    batches = [
        batch(
            number, start, start + 9,
            [stage("fetch", start, start + 1),
             stage("forward", start + 1, start + 9, None if number in lost else (start + 2, start + 8))],
            dropped=number in lost,
        )
        for number, start in enumerate((0, 10, 20))
    ]  # fmt: skip
    idle = idle_time(run_of(batches, 31, device=TIMED))
    totals = {name: int(idle.cause_ns[idle.cause == IDLE_CAUSES.index(name)].sum()) // MS for name in expected}
    assert totals == expected
    assert int(idle.cause_ns.sum()) == int((idle.end_ns - idle.start_ns).sum())


def test_stops_are_disjoint_and_inside_the_run():
    run = run_of([batch(0, 0, 10)], 100)
    stops = [StopRecord(start * MS, end * MS, "process") for start, end in ((90, 120), (20, 40), (30, 50), (60, 60))]
    assert timeline_of(replace(run, stops=tuple(stops))).stops == [(20 * MS, 50 * MS), (90 * MS, 100 * MS)]
    assert timeline_of(run).stops == []


def test_a_run_in_parts_has_the_same_gaps(run):
    whole, parts = idle_time(run), idle_time(run, part_batches=300)
    for column in ("start_ns", "end_ns"):
        assert getattr(whole, column).tolist() == getattr(parts, column).tolist()
    assert parts.cause_ns.sum() == whole.cause_ns.sum()


def test_a_long_run_keeps_its_beginning_its_slowest_batches_and_all_of_its_time(run):
    whole, part = timeline_of(run), timeline_of(run, max_exact_intervals=5000)
    assert whole.exact.whole
    assert whole.rest is None
    assert not part.exact.whole
    assert part.exact.batches[1234]
    edges = bucket_edges(part.span, 512)
    kept = part.reduced(edges, part.exact.batches, part.exact.gaps)
    left = part.reduced(edges, ~part.exact.batches, ~part.exact.gaps)
    everything = whole.reduced(edges)
    for one, other, all_of_it in zip(kept.covered, left.covered, everything.covered, strict=True):
        assert (one + other).sum() == all_of_it.sum()
    assert sum(column.sum() for column in (*kept.idle, *left.idle)) == sum(column.sum() for column in everything.idle)
    assert (kept.pace.counts + left.pace.counts).tolist() == everything.pace.counts.tolist()
    assert (kept.in_flight + left.in_flight).tolist() == everything.in_flight.tolist()


@pytest.mark.parametrize("parts", [1, 7, 600])
def test_a_slow_batch_is_seen_at_each_zoom(run, parts):
    timeline = timeline_of(run)
    slowest = int(timeline.pace.interval_ns.max())
    assert slowest > 50 * MS
    assert int(np.nanmax(timeline.reduced(bucket_edges(timeline.span, parts)).pace.high)) == slowest


def test_a_run_without_device_times_has_no_idle_time():
    run = run_of([batch(0, 0, 10, [stage("fetch", 0, 4), stage("forward", 4, 9)])], 12)
    timeline = timeline_of(run)
    assert len(timeline.idle.start_ns) == 0
    assert [lane.on_device for lane in timeline.lanes] == [False, False]


def test_an_empty_run_has_nothing():
    timeline = timeline_of(run_of([], 0))
    assert (list(timeline.lanes), list(timeline.curves), timeline.elapsed_ns) == ([], [], 0)
    assert timeline.reduced(bucket_edges(timeline.span, 10)).in_flight.tolist() == [0]


def test_readings_stand_for_their_time():
    second = 1000 * MS
    gpu = samples(
        fast=(
            GpuReading(second, utilization_percent=50, power_mw=300_000, sm_clock_mhz=1980, throttle_reasons=0),
            GpuReading(2 * second, utilization_percent=100, power_mw=None, sm_clock_mhz=1500, throttle_reasons=0x44),
        ),
        gpm=(GpmReading(1500 * MS, 1000 * MS, sm_activity=0.5),),
        tiers=(SamplerTierRecord("fast", 1000, 2, 0, 0, False, ""),),
    )
    curves = {curve.quantity.key: curve for curve in gpu_curves(gpu, (0, 10 * second))}
    found = {
        key: [
            (start / second, end / second, value)
            for start, end, value in zip(curve.start_ns, curve.end_ns, curve.values, strict=True)
        ]
        for key, curve in curves.items()
    }
    assert found == {
        "sm_activity": [(0.5, 1.5, 50.0)],
        "utilization_percent": [(0, 1, 50.0), (1, 2, 100.0)],
        "power_mw": [(0, 1, 300.0)],
        "sm_clock_mhz": [(1, 2, 1980.0), (2, 3, 1500.0)],
    }
    times = {(one.reason, one.hard): one.intervals for one in throttling(gpu, (0, 10 * second))}
    assert times == {
        ("sw_power_cap", False): [(2 * second, 3 * second)],
        ("hw_thermal_slowdown", True): [(2 * second, 3 * second)],
    }


def test_a_gpu_that_was_not_sampled_has_no_curves():
    assert gpu_curves(None, (0, 1)) == throttling(None, (0, 1)) == gpu_curves(samples(), (0, 1)) == []
