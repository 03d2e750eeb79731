# SPDX-License-Identifier: MIT
"""Busy share, gaps, launches and kernels of captures whose truth is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.kineto_traces import BASE_NS, GPU, OFFSET_NS, TraceBuilder, faster, launch_bound_capture
from tests.support.run_records import MS, batch, run_of, stage
from virnuc_profiler.analysis.kernels.device_trace import read_device_trace
from virnuc_profiler.analysis.kernels.kernel_activity import kernel_activity
from virnuc_profiler.analysis.kernels.trace_clock import fit_trace_clock
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.reports.kernel_table import render_kernels
from virnuc_profiler.telemetry.parts.kernel_records import ClockAnchor, KernelActivity
from virnuc_profiler.telemetry.parts.start_up_records import StartUpPart, StartUpRecord
from virnuc_profiler.telemetry.records import StopRecord


def activity_of(capture, *, num_batches=20, measured=None):
    # Through JSON, as a trace comes from a file.
    trace = read_device_trace(json.loads(json.dumps(capture.document)))
    return kernel_activity(
        capture.run,
        trace,
        capture.anchors,
        started_ns=capture.started_ns,
        num_batches=num_batches,
        measured=measured,
    )


def test_a_launch_bound_loop_is_busy_for_the_share_of_its_kernels():
    """Kernels take 4 of 12.1 ms and the copy 0.07, while the stages cover all but 2 ms."""
    capture = launch_bound_capture()
    found = activity_of(capture)
    assert (found.batches, found.first_batch) == (20, 3 + 4)
    assert found.window_ns == pytest.approx(20 * 12.1 * MS, rel=1e-3)
    assert found.busy_share == pytest.approx(4.07 / 12.1, rel=1e-3)
    assert found.idle_in_stages_ns == pytest.approx(20 * 6.03 * MS, rel=1e-3)
    assert found.idle_between_ns == pytest.approx(20 * 2.0 * MS, rel=1e-3)
    assert found.operations == 20 * 11
    assert found.launches == 20 * 11
    assert found.clock_error_ns is not None
    assert found.clock_error_ns < 5000


def test_work_belongs_to_the_stage_that_launched_it_also_without_a_recorded_call():
    found = activity_of(launch_bound_capture())
    stages = {one.stage: one for one in found.stages}
    assert set(stages) == {"h2d", "forward"}
    assert stages["forward"].operations == 200
    assert stages["h2d"].operations == 20
    assert stages["forward"].idle_ns == pytest.approx(20 * 6.0 * MS, rel=1e-3)
    names = {(one.stage, one.name): one for one in found.kernels}
    assert names["forward", "gemm"].count == 100
    assert names["forward", "layer_norm"].total_ns == pytest.approx(100 * 0.4 * MS, rel=1e-3)
    assert names["h2d", "Memcpy HtoD (Pinned -> Device)"].count == 20


def test_the_overhead_is_that_over_the_same_batches_of_the_measured_run():
    capture = launch_bound_capture()
    found = activity_of(capture, measured=faster(capture.run, 1.5))
    assert found.slowdown == pytest.approx(1.5, rel=1e-3)
    assert found.busy_share_at_own_pace == pytest.approx(1.5 * found.busy_share, rel=1e-3)


def test_a_file_in_which_the_device_is_busy_for_longer_than_the_window_is_refused():
    saved = activity_of(launch_bound_capture()).to_json()
    for busy_ns in (-1, saved["window_ns"] + 1):
        with pytest.raises(TelemetryFormatError, match="which is not within its window of"):
            KernelActivity.from_json({**saved, "busy_ns": busy_ns})


def test_a_device_that_works_longer_than_the_batches_take_was_slower_under_cupti():
    found = activity_of(capture := launch_bound_capture(), measured=faster(capture.run, 4.0))
    assert found.busy_ns > found.reference_ns
    assert found.busy_share_at_own_pace is None
    assert "own pace: not known, the GPU worked longer than the batches take without CUPTI" in render_kernels(found)


def test_batches_that_the_measured_run_lacks_are_compared_with_those_before_the_capture():
    capture = launch_bound_capture(batches=60, skip=25)
    fewer = faster(launch_bound_capture(batches=12).run, 2.0)
    for measured in (None, fewer):
        found = activity_of(capture, measured=measured)
        assert found.slowdown == pytest.approx(1.0, rel=0.01)  # the made batches are as fast before CUPTI as under it


def test_batches_that_recorded_a_graph_are_no_reference():
    capture = launch_bound_capture(skip=25, batches=60)
    last = capture.run.batches[20].host_start_ns

    def noted(run, at):
        part = StartUpPart("recording_graphs", at, at + 3 * MS)
        return replace(run, start_up=StartUpRecord(None, False, (part,)))

    disturbed = replace(capture, run=noted(capture.run, last))
    assert activity_of(disturbed).reference_ns is None
    measured = faster(capture.run, 1.5)
    assert activity_of(disturbed, measured=measured).slowdown == pytest.approx(1.5, rel=0.01)
    late = noted(measured, measured.batches[40].host_start_ns)
    assert activity_of(capture, measured=late).slowdown == pytest.approx(1.0, rel=0.01)
    assert activity_of(disturbed, measured=late).slowdown is None


def test_batches_during_which_the_run_was_stopped_are_no_reference():
    capture = launch_bound_capture()
    measured = faster(capture.run, 1.5)
    at = measured.batches[20].host_start_ns
    stopped = replace(measured, stops=(StopRecord(at, at + 2_000 * MS, "process"),))
    assert activity_of(capture, measured=stopped).reference_ns is None


def test_a_graph_is_one_launch_of_many_kernels():
    builder = TraceBuilder()
    records = []
    for number in range(8):
        at = 10.0 * number
        launch = builder.call(int((at + 0.2) * MS), "cudaGraphLaunch")
        for kernel in range(5):
            builder.operation(launch, int((at + 1 + kernel) * MS), int((at + 2 + kernel) * MS), f"node {kernel}")
        records.append(batch(number, at, at + 9, [stage("forward", at + 0.1, at + 0.5, device=(at + 1, at + 6))]))
    builder.anchor(-1 * MS)
    builder.anchor(90 * MS)
    run = run_of(records, 100, device=GPU, start_ms=-10)
    trace = read_device_trace(builder.document())
    found = kernel_activity(run, trace, builder.anchors, started_ns=-MS, num_batches=3)
    assert (found.launches, found.operations) == (3, 15)
    assert found.idle_in_stages_ns == 0
    assert found.busy_share == pytest.approx(0.5)


def test_a_run_of_a_few_batches_is_captured_as_far_as_it_goes():
    found = activity_of(launch_bound_capture(batches=6))
    assert found.batches == 2
    with pytest.raises(ValueError, match="1 of 4 batches began after CUPTI was started, and it takes at least 2"):
        activity_of(launch_bound_capture(batches=4))


def test_without_device_times_gaps_are_not_divided():
    capture = launch_bound_capture()
    records = [
        replace(one, stages=tuple(replace(part, device_start_ns=None, device_end_ns=None) for part in one.stages))
        for one in capture.run.batches
    ]
    run = run_of(records, capture.run.host_end_ns / MS, start_ms=900)
    trace = read_device_trace(capture.document)
    found = kernel_activity(run, trace, capture.anchors, started_ns=capture.started_ns, num_batches=20)
    assert found.idle_in_stages_ns is None
    assert found.idle_between_ns is None
    assert 0 < found.busy_share < 0.5
    (other,) = [one for one in found.stages if one.stage is None]
    assert {one.name for one in found.kernels if one.stage is None} == {"Memcpy HtoD (Pinned -> Device)"}
    assert other.operations >= 19


def test_another_device_is_left_out():
    capture = launch_bound_capture()
    builder = TraceBuilder()
    builder.operation(7, 1100 * MS, 1400 * MS, "elsewhere", device=1)
    trace = read_device_trace({**capture.document, "traceEvents": capture.document["traceEvents"] + builder.events})
    assert len(trace.on_device(0).operations) == len(trace.operations) - 1
    assert len(trace.on_device(5).operations) == 0


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_trace_that_ends_early_gives_no_busy_share(share):
    """CUPTI drops records when its buffers are full. What is missing would count as idle."""
    capture = launch_bound_capture()
    events = [one for one in capture.document["traceEvents"] if one["ph"] == "X" and one["cat"] != "Trace"]
    events.sort(key=lambda event: event["ts"])
    cut = {**capture.document, "traceEvents": events[: int(share * len(events))]}
    with pytest.raises(ValueError, match="does not reach the end of the captured batches"):
        activity_of(replace(capture, document=cut))


def test_launches_outside_of_all_stages_count_too():
    builder, records = TraceBuilder(), []
    for number in range(12):
        at = 10.0 * number
        for kernel in range(5):
            launch = builder.call(int((at + 1 + kernel) * MS))
            builder.operation(launch, int((at + 1.2 + kernel) * MS), int((at + 1.7 + kernel) * MS))
        records.append(batch(number, at, at + 9.9, [stage("fetch", at, at + 0.5)]))
    builder.anchor(-1 * MS)
    builder.anchor(140 * MS)
    run = run_of(records, 150, device=GPU, start_ms=-10)
    trace = read_device_trace(builder.document())
    found = kernel_activity(run, trace, builder.anchors, started_ns=-MS, num_batches=5)
    assert (found.batches, found.launches, found.operations) == (5, 25, 25)


TIMES = st.integers(0, 50_000_000)


@st.composite
def captures(draw):
    """Any operations, launched at any time or by no recorded call, beside batches of one to three stages."""
    builder = TraceBuilder()
    builder.anchor(-2 * MS)
    builder.anchor(60 * MS)
    for _ in range(draw(st.integers(0, 12))):
        start, long_ns = draw(TIMES), draw(st.integers(0, 20_000_000))
        launch = builder.call(max(0, start - draw(st.integers(0, 3_000_000)))) if draw(st.booleans()) else 0
        for node in range(draw(st.integers(1, 2))):
            begin = start + node * long_ns // 2
            name, category = draw(
                st.sampled_from([("a", "kernel"), ("b", "kernel"), ("Memset (Device)", "gpu_memset")])
            )
            builder.operation(launch or builder.hidden_call(), begin, begin + long_ns, name, category)
    records = []
    for number in range(draw(st.integers(2, 6))):
        start = draw(TIMES) / MS
        stages = []
        for name in draw(st.lists(st.sampled_from(["fetch", "h2d", "forward"]), max_size=3)):
            begin, end = sorted((draw(TIMES) / MS, draw(TIMES) / MS))
            timed = name != "fetch" and draw(st.booleans())
            device = sorted((draw(TIMES) / MS, draw(TIMES) / MS)) if timed else None
            stages.append(stage(name, begin, end, device))
        records.append(batch(number, start, start + draw(st.integers(1, 20)), stages))
    return run_of(records, 100, device=GPU, start_ms=-10), builder


@settings(max_examples=120, deadline=None)
@given(captures(), st.integers(1, 5))
def test_totals_agree_whatever_was_recorded(capture, num_batches):
    run, builder = capture
    trace = read_device_trace(builder.document())
    found = kernel_activity(run, trace, builder.anchors, started_ns=-3 * MS, num_batches=num_batches)
    assert 1 <= found.batches <= num_batches
    assert 0 <= found.busy_ns <= found.window_ns
    if found.idle_in_stages_ns is not None:
        assert found.busy_ns + found.idle_in_stages_ns + found.idle_between_ns == found.window_ns
        assert found.idle_in_stages_ns >= 0
        assert found.idle_between_ns >= 0
    assert sum(one.operations for one in found.stages) == found.operations
    assert found.launches <= sum(one.launches for one in found.stages)  # up to the shared ids of nodes
    for one in found.stages:
        assert one.busy_ns <= one.total_ns
        assert sum(total.total_ns for total in found.kernels if total.stage == one.stage) == one.total_ns
        assert sum(total.count for total in found.kernels if total.stage == one.stage) == one.operations
        if one.idle_ns is not None:
            assert 0 <= one.idle_ns <= one.interval_ns
    assert type(found).from_json(json.loads(json.dumps(found.to_json()))) == found


@settings(max_examples=60, deadline=None)
@given(st.integers(-(10**12), 10**12), st.floats(-1e-4, 1e-4), st.integers(2_000, 20_000))
def test_clocks_are_compared_to_within_the_stated_error(offset_ns, drift, bracket_ns):
    """The trace's clock is ahead by any time and runs faster or slower by up to 100 ppm."""
    builder = TraceBuilder(offset_ns=OFFSET_NS + offset_ns, drift=drift)
    for at in (10, 11, 5000, 5001):
        builder.anchor(at * MS, bracket_ns, bracket_ns // 2)
    for at in range(20, 4000, 170):  # synchronizations of the loop itself
        builder.call(at * MS, "cudaDeviceSynchronize", took_ns=50_000)
    clock = fit_trace_clock(read_device_trace(builder.document()), builder.anchors)
    assert clock.error_ns is not None
    assert clock.error_ns <= bracket_ns
    truth = np.array([20 * MS, 900 * MS, 4990 * MS])
    seen = np.array([builder.ticks(int(time)) for time in truth]) + BASE_NS
    assert np.abs(clock.monotonic(seen) - truth).max() <= clock.error_ns + 3


def test_without_the_calls_the_time_of_day_is_used():
    capture = launch_bound_capture()
    events = [one for one in capture.document["traceEvents"] if one.get("name") != "cudaDeviceSynchronize"]
    trace = read_device_trace({**capture.document, "traceEvents": events})
    anchors = [ClockAnchor(one.before_ns, one.after_ns, one.after_ns + OFFSET_NS) for one in capture.anchors]
    found = kernel_activity(capture.run, trace, anchors, started_ns=capture.started_ns, num_batches=20)
    assert found.clock_error_ns is None
    assert found.busy_share == pytest.approx(4.07 / 12.1, rel=1e-2)


@pytest.mark.parametrize("document", [{}, {"traceEvents": None}, {"traceEvents": [{"ph": "X", "cat": "kernel"}, 3]}])
def test_a_trace_without_device_events_is_empty(document):
    trace = read_device_trace(document)
    assert (len(trace.operations), len(trace.calls)) == (0, 0)


def test_a_short_copy_beside_its_interval_is_still_its_own():
    """The copy takes 2 us of an interval of 9, and the device's clock is late by 8: it would fall into the forward."""
    builder, records = TraceBuilder(), []
    for number in range(8):
        at = 10.0 * number
        copy = int(at * MS) + 3000
        builder.operation(builder.hidden_call(), copy, copy + 2000, "Memcpy HtoD", "gpu_memcpy")
        launch = builder.call(int((at + 0.1) * MS))
        builder.operation(launch, int((at + 0.2) * MS), int((at + 8) * MS))
        late = at + 0.008
        stages = [
            stage("h2d", at, at + 0.01, device=(late, late + 0.009)),
            stage("forward", at + 0.02, at + 0.3, device=(at - 2 + 0.1, at + 8)),  # of the batch before, still running
        ]
        records.append(batch(number, at, at + 9, stages))
    builder.anchor(-1 * MS)
    builder.anchor(90 * MS)
    device = replace(GPU, alignment_uncertainty_ns=6000, alignment_residual_ns=1000)
    run = run_of(records, 100, device=device, start_ms=-10)
    trace = read_device_trace(builder.document())
    found = kernel_activity(run, trace, builder.anchors, started_ns=-MS, num_batches=3)
    assert {one.stage: one.operations for one in found.stages} == {"h2d": 3, "forward": 3}
