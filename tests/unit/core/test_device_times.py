# SPDX-License-Identifier: MIT
"""Device times through the stand-in driver without faults; test_device_faults.py has the faults."""

import threading
import time
from typing import Any

import numpy as np
import pytest

from tests.support.device_times import BACKLOG, MS, STREAM, device_durations, new_timeline, run_batch
from tests.support.standin import CudaControl, Standins
from virnuc_profiler import _core


def measure_batches() -> None:
    cuda = CudaControl()
    timeline = new_timeline()
    before = cuda.calls("cuEventRecord")
    cuda.launch(STREAM, BACKLOG)
    for index in range(5):
        run_batch(timeline, cuda, index)
    assert cuda.calls("cuEventRecord") - before == 5 * 3  # two device stages share an event: 3, not 4
    timeline.stop()

    durations = device_durations(timeline)
    assert durations["fetch"] == durations["emit"] == [_core.NOT_MEASURED] * 5
    assert durations["h2d"] == pytest.approx([1 * MS] * 5, abs=1_000)
    assert durations["forward"] == pytest.approx([3 * MS] * 5, abs=1_000)
    stages = timeline.stages()
    timed = stages[stages["device_start_ns"] != _core.NOT_MEASURED]
    assert (timed["device_start_ns"] >= timed["host_start_ns"] - 20_000).all()
    assert (np.diff(timed["device_start_ns"]) > 0).all()
    assert timeline.device_enabled
    assert timeline.device_error is None
    assert timeline.dropped_batches == 0
    assert len(timeline.anchors()) == 2
    assert (timeline.anchors()["uncertainty_ns"] > 0).all()
    assert cuda.live_events == 0
    assert cuda.retained_contexts == 0
    calls = cuda.calls()
    timeline.stop()
    del timeline
    assert cuda.calls() == calls


def align_with_drift() -> None:
    cuda = CudaControl()
    cuda.set_clock(-5_000_000_000, 2_000.0)  # drifts by 2 ms per second
    timeline = new_timeline(clock_sync_interval_ms=20.0)
    truth: list[int] = []
    for index in range(30):
        with timeline.begin_batch(index) as batch:
            truth.append(time.monotonic_ns())
            batch.mark("forward")  # an idle stream: the event fires at once
        time.sleep(0.01)
    timeline.stop()
    anchors = timeline.anchors()
    assert len(anchors) > 5
    assert anchors[0]["device_ns"] == 0
    rate = np.diff(anchors["device_ns"]) / np.diff(anchors["host_ns"])
    assert np.median(rate) == pytest.approx(1.002, abs=0.0005)
    # Without the drift, the last batch (0.3 s) would be 600 µs off.
    late = timeline.stages()["device_start_ns"] - np.array(truth)
    assert np.median(np.abs(late)) < 200_000
    assert abs(np.median(late[-10:]) - np.median(late[:10])) < 200_000


def mix_streams() -> None:
    cuda = CudaControl()
    timeline = new_timeline()
    before = cuda.calls("cuEventRecord")
    for stream in (0x100, 0x200, 0x300):
        cuda.launch(stream, BACKLOG)
    with timeline.begin_batch(0) as batch:
        batch.mark("h2d", 0x100)
        cuda.launch(0x100, 5 * MS)
        batch.mark("forward", 0x200)  # another stream: an event on each
        cuda.launch(0x200, 1 * MS)
        with batch.stage("h2d", 0x300):
            cuda.launch(0x300, 2 * MS)
    assert cuda.calls("cuEventRecord") - before == 2 + 2 + 2
    timeline.stop()
    durations = device_durations(timeline)
    assert durations["h2d"] == pytest.approx([5 * MS, 2 * MS], abs=1_000)
    assert durations["forward"] == pytest.approx([1 * MS], abs=1_000)


def use_the_default_stream() -> None:
    cuda = CudaControl()
    timeline = new_timeline(stream=0)
    recorded: list[bool] = []

    def record() -> None:
        with timeline.begin_batch(len(recorded)) as batch:
            batch.mark("forward")
        recorded.append(True)

    record()  # no context is current
    cuda.use_other_context(True)
    record()  # another library's context is current
    thread = threading.Thread(target=record)
    thread.start()
    thread.join()
    timeline.stop()
    assert timeline.device_error is None
    assert cuda.wrong_context == 0
    assert _core.NOT_MEASURED not in device_durations(timeline)["forward"]
    cuda.use_other_context(False)


def leave_it_to_the_interpreter() -> None:
    cuda = CudaControl()
    timeline = new_timeline()
    run_batch(timeline, cuda)
    globals()["kept_to_the_end"] = timeline  # never stopped; the interpreter must exit without a crash or a hang


def discard_after_marks() -> None:
    cuda = CudaControl()
    timeline = new_timeline()
    cuda.hold(STREAM)
    batch = timeline.begin_batch(0)
    batch.mark("forward")
    batch.discard()
    timeline.stop(0.0)
    assert len(timeline.batches()) == 0
    assert timeline.dropped_batches == 0


def use_two_timelines() -> None:
    cuda = CudaControl()
    outer, inner = new_timeline(), new_timeline()
    with outer.begin_batch(0) as batch:
        batch.mark("forward")
        run_batch(inner, cuda, 5)
    inner.stop()
    run_batch(outer, cuda, 1)
    outer.stop()
    assert inner.dropped_batches == outer.dropped_batches == 0
    assert _core.NOT_MEASURED not in device_durations(outer)["forward"] + device_durations(inner)["forward"]
    assert cuda.live_events == 0


SCENARIOS = [
    measure_batches,
    align_with_drift,
    mix_streams,
    use_the_default_stream,
    leave_it_to_the_interpreter,
    discard_after_marks,
    use_two_timelines,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_device_times(standins: Standins, scenario: Any) -> None:
    standins.call(scenario)
