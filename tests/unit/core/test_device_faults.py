# SPDX-License-Identifier: MIT
"""Device times when the driver fails, lags, hangs or forks: missing times are counted, host times are complete."""

import os
import threading
import time
from typing import Any

import pytest

from tests.support.device_times import (
    STAGES,
    STREAM,
    device_durations,
    new_timeline,
    run_batch,
    wait_until,
)
from tests.support.standin import FOREVER, CudaControl, Standins
from virnuc_profiler import _core
from virnuc_profiler.errors import CudaError, VirnucError

ILLEGAL_ADDRESS = 700


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
    assert len(timeline.stages()) == 5 * 4  # host times are complete
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
    timeline.stop(50.0)  # releases the GIL, so that the timer can run
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
    """Each attempt to compare the clocks fails after its wait, which must not look like a hanging driver call."""
    cuda = CudaControl()
    cuda.hold_all()
    timeline = new_timeline()
    run_batch(timeline, cuda, 0)
    time.sleep(1.0)  # by now an attempt takes its longest
    timeline.stop(0.15)
    assert timeline.device_error is None
    assert timeline.dropped_batches == 1
    assert (cuda.live_events, cuda.retained_contexts) == (0, 0)


def read_while_it_stops() -> None:
    """stop() lets other Python threads run while it waits; here one of them ends the wait."""
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
    assert timeline.collector_cpu_ns is not None
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
            assert cuda.forked_child_calls == 0
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


SCENARIOS = [
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
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_device_faults(standins: Standins, scenario: Any) -> None:
    standins.call(scenario)


@pytest.mark.parametrize("call", ["cuEventRecord", "cuEventQuery", "cuEventElapsedTime"])
def test_a_failing_call_disables_device_times(standins: Standins, call: str) -> None:
    standins.call(fail_a_call, call)
