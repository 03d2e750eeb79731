# SPDX-License-Identifier: MIT
"""Device times through the stand-in driver: right when all goes well, absent and counted when it does not."""

import os
import threading
import time
from typing import Any

import numpy as np
import pytest

from tests.support.standin import FOREVER, CudaControl, Standins
from virnuc_profiler import _core
from virnuc_profiler.errors import CudaError, VirnucError

STAGES = ["fetch", "h2d", "forward", "emit"]
DEVICE_STAGES = ["h2d", "forward"]
STREAM = 0x77
MS = 1_000_000
BACKLOG = 300 * MS
"""Work queued before what is measured: then the host's own pace does not show in the device's times."""
ILLEGAL_ADDRESS = 700


def new_timeline(**options: Any) -> _core.Timeline:
    # No anchors but those at the start and the end, unless asked for: the tests count calls.
    settings: dict[str, Any] = {"device": 0, "stream": STREAM, "anchor_interval_ms": 1e9}
    return _core.Timeline(STAGES, DEVICE_STAGES, **(settings | {"harvest_interval_ms": 1.0} | options))


def run_batch(timeline: _core.Timeline, cuda: CudaControl, index: int = 0) -> None:
    with timeline.begin_batch(index) as batch:
        batch.mark("fetch")
        batch.mark("h2d")
        cuda.launch(STREAM, 1 * MS)
        batch.mark("forward")
        cuda.launch(STREAM, 3 * MS)
        batch.mark("emit")


def device_durations(timeline: _core.Timeline) -> dict[str, list[int]]:
    """Device durations of each stage name; NOT_MEASURED where there is none."""
    durations: dict[str, list[int]] = {name: [] for name in STAGES}
    for row in timeline.stages():
        measured = row["device_start_ns"] != _core.NOT_MEASURED and row["device_end_ns"] != _core.NOT_MEASURED
        duration = int(row["device_end_ns"] - row["device_start_ns"]) if measured else _core.NOT_MEASURED
        durations[STAGES[row["stage"]]].append(duration)
    return durations


def wait_until(condition: Any) -> None:
    """For what another thread is about to do; the test's own timeout is the limit."""
    while not condition():
        time.sleep(0.001)


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
    cuda.set_clock(-5_000_000_000, 2_000.0)  # 2 ms a second
    timeline = new_timeline(anchor_interval_ms=20.0)
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
    cuda.use_foreign_context(True)
    record()  # another library's is
    thread = threading.Thread(target=record)
    thread.start()
    thread.join()
    timeline.stop()
    assert timeline.device_error is None
    assert cuda.wrong_context == 0
    assert _core.NOT_MEASURED not in device_durations(timeline)["forward"]
    cuda.use_foreign_context(False)


def exhaust_the_pool() -> None:
    cuda = CudaControl()
    timeline = new_timeline(event_pool_size=7)
    cuda.hold(STREAM)
    for index in range(4):
        run_batch(timeline, cuda, index)
    assert timeline.dropped_batches == 2  # three events each: the third batch gets one, the fourth none
    cuda.release(STREAM)
    wait_until(lambda: _core.NOT_MEASURED not in device_durations(timeline)["forward"][:2])
    run_batch(timeline, cuda, 4)
    timeline.stop()
    assert timeline.dropped_batches == 2
    dropped = (timeline.batches()["flags"] & timeline.DEVICE_TIMES_DROPPED) != 0
    assert dropped.tolist() == [False, False, True, True, False]
    assert len(timeline.stages()) == 5 * 4  # host times are all there
    forward = device_durations(timeline)["forward"]
    assert [duration == _core.NOT_MEASURED for duration in forward] == dropped.tolist()
    assert timeline.device_enabled


def fail_a_call(call: str) -> None:
    cuda = CudaControl()
    timeline = new_timeline()
    run_batch(timeline, cuda, 0)
    wait_until(lambda: _core.NOT_MEASURED not in device_durations(timeline)["forward"])
    cuda.fail(call, ILLEGAL_ADDRESS)
    run_batch(timeline, cuda, 1)
    wait_until(lambda: not timeline.device_enabled)
    run_batch(timeline, cuda, 2)
    timeline.stop()
    assert call in str(timeline.device_error)
    assert "700" in str(timeline.device_error)
    assert timeline.dropped_batches == 2
    forward = device_durations(timeline)["forward"]
    assert forward[0] != _core.NOT_MEASURED
    assert forward[1:] == [_core.NOT_MEASURED] * 2
    assert len(timeline.stages()) == 3 * 4


def lose_the_device() -> None:
    cuda = CudaControl()
    timeline = new_timeline()
    run_batch(timeline, cuda, 0)
    wait_until(lambda: _core.NOT_MEASURED not in device_durations(timeline)["forward"])
    cuda.vanish()
    with timeline.begin_batch(1) as batch:
        batch.mark("forward")
    timeline.stop()
    assert not timeline.device_enabled
    assert "CUDA_ERROR_DEVICE_UNAVAILABLE (46)" in str(timeline.device_error)
    assert timeline.dropped_batches == 1
    with pytest.raises(VirnucError):
        new_timeline()


def refuse_a_device() -> None:
    cuda = CudaControl()
    with pytest.raises(CudaError, match="CUDA_ERROR_INVALID_DEVICE") as error:
        new_timeline(device=3)
    assert (error.value.code, error.value.call) == (101, "cuDeviceGet")
    cuda.fail("cuDevicePrimaryCtxRetain", 2)
    with pytest.raises(CudaError) as error:
        new_timeline()
    assert (error.value.code, error.value.call) == (2, "cuDevicePrimaryCtxRetain")
    assert cuda.live_events == 0


def never_complete() -> None:
    cuda = CudaControl()
    timeline = new_timeline()
    run_batch(timeline, cuda, 0)
    wait_until(lambda: _core.NOT_MEASURED not in device_durations(timeline)["forward"])
    cuda.hold(STREAM)
    run_batch(timeline, cuda, 1)
    timeline.stop(0.05)
    assert timeline.dropped_batches == 1
    assert timeline.device_error is None
    assert (timeline.batches()["flags"] & timeline.DEVICE_TIMES_DROPPED).tolist()[1]
    assert cuda.live_events == 0


def complete_late() -> None:
    cuda = CudaControl()
    timeline = new_timeline()
    cuda.hold(STREAM)
    run_batch(timeline, cuda, 0)
    timer = threading.Timer(0.1, cuda.release, [STREAM])
    timer.start()
    timeline.stop(50.0)  # gives the GIL up, or the timer would never run
    timer.join()
    assert timeline.dropped_batches == 0
    assert _core.NOT_MEASURED not in device_durations(timeline)["forward"]


def hang_in_the_driver() -> None:
    cuda = CudaControl()
    timeline = new_timeline()
    cuda.hang("cuEventQuery", FOREVER)
    run_batch(timeline, cuda, 0)
    timeline.stop(0.05)
    assert timeline.dropped_batches == 1
    assert not timeline.device_enabled
    assert "did not return" in str(timeline.device_error)


def anchor_a_silent_device() -> None:
    cuda = CudaControl()
    cuda.hold_all()
    timeline = new_timeline()
    assert len(timeline.anchors()) == 0
    run_batch(timeline, cuda, 0)
    cuda.hold_all(False)
    timeline.stop(50.0)
    assert len(timeline.anchors()) > 0
    assert timeline.dropped_batches == 0


def stop_on_a_silent_device() -> None:
    """The clocks cannot be compared, and each try waits: that must not pass for a driver call that hangs."""
    cuda = CudaControl()
    cuda.hold_all()
    timeline = new_timeline()
    run_batch(timeline, cuda, 0)
    time.sleep(1.0)  # by now a try takes its longest
    timeline.stop(0.15)
    assert timeline.device_error is None
    assert timeline.dropped_batches == 1
    assert (cuda.live_events, cuda.retained_contexts) == (0, 0)


def read_while_it_stops() -> None:
    """What waits for stop() must let other Python threads go on: here one of them ends the wait."""
    cuda = CudaControl()
    timeline = new_timeline()
    cuda.hold(STREAM)
    run_batch(timeline, cuda, 0)
    stopping = threading.Thread(target=timeline.stop, args=(20.0,))
    release = threading.Timer(0.2, cuda.release, [STREAM])
    began = time.monotonic()
    stopping.start()
    release.start()
    time.sleep(0.05)  # the other thread waits in stop()
    assert timeline.harvest_cpu_ns is not None
    stopping.join()
    release.join()
    assert time.monotonic() - began < 10
    assert timeline.dropped_batches == 0


def fork_in_the_middle() -> None:
    cuda = CudaControl()
    timeline = new_timeline()
    batch = timeline.begin_batch(0)
    batch.mark("forward")
    scope = batch.stage("h2d").__enter__()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            batch.mark("emit")
            scope.__exit__(None, None, None)
            batch.end()
            with pytest.raises(VirnucError, match="forked"):
                timeline.begin_batch(1)
            timeline.stop()
            assert not _core.cuda_status().available
            assert "forked" in _core.cuda_status().reason
            assert _core.cuda_devices() == []
            with pytest.raises(VirnucError, match="forked"):
                new_timeline()
            host_only = _core.Timeline(STAGES)
            host_only.begin_batch(0).end()
            assert len(host_only.batches()) == 1
            del timeline, batch
            assert cuda.foreign_calls == 0
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    scope.__exit__(None, None, None)
    batch.mark("emit")
    batch.end()
    timeline.stop()
    assert timeline.dropped_batches == 0
    assert _core.NOT_MEASURED not in device_durations(timeline)["forward"]


def leave_it_to_the_interpreter() -> None:
    cuda = CudaControl()
    timeline = new_timeline()
    run_batch(timeline, cuda)
    globals()["kept_to_the_end"] = timeline  # never stopped: the interpreter's exit must not crash or hang


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
    exhaust_the_pool,
    lose_the_device,
    refuse_a_device,
    never_complete,
    complete_late,
    hang_in_the_driver,
    anchor_a_silent_device,
    stop_on_a_silent_device,
    read_while_it_stops,
    fork_in_the_middle,
    leave_it_to_the_interpreter,
    discard_after_marks,
    use_two_timelines,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_device_times(standins: Standins, scenario: Any) -> None:
    standins.call(scenario)


@pytest.mark.parametrize("call", ["cuEventRecord", "cuEventQuery", "cuEventElapsedTime"])
def test_a_failing_call_turns_device_times_off(standins: Standins, call: str) -> None:
    standins.call(fail_a_call, call)
