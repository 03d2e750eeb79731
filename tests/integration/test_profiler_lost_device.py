# SPDX-License-Identifier: MIT
"""BatchProfiler on a device that lags behind the host, or disappears: what is lost is counted, batch by batch."""

import time

import pytest

from tests.support.standin import CudaControl, NvmlControl, Standins
from virnuc_profiler import BatchProfiler, RunResult
from virnuc_profiler.errors import VirnucError

MS = 1_000_000
STREAM = 0x77
EVENT_POOL_SIZE = 4096
"""As docs/profile-your-loop.md promises."""


def new_profiler(*, sample_gpu: bool = True) -> BatchProfiler:
    return BatchProfiler(device=0, stages=("forward",), stream=STREAM, sample_gpu=sample_gpu)


def timed_batches(run: RunResult) -> list[bool]:
    """For each batch whether its stage has a device time. Each batch says so of itself, and the run of all of them."""
    timed = [all(stage.device_ns is not None for stage in batch.stages) for batch in run.batches]
    assert [not batch.device_times_dropped for batch in run.batches] == timed
    assert run.device.dropped_batches == timed.count(False)
    return timed


def lag_behind() -> None:
    cuda = CudaControl()
    profiler = new_profiler(sample_gpu=False)
    fit_into_the_pool = EVENT_POOL_SIZE // 2  # a batch of one stage takes two events
    with profiler:
        cuda.hold(STREAM)
        for _ in profiler.batches(range(fit_into_the_pool + 100)):
            with profiler.stage("forward"):
                pass
        cuda.release(STREAM)
        time.sleep(0.3)  # the harvester gives the events back
        for _ in profiler.batches(range(50)):
            with profiler.stage("forward"):
                pass
    run = profiler.result
    assert timed_batches(run) == [True] * fit_into_the_pool + [False] * 100 + [True] * 50
    assert all(stage.host_ns > 0 for batch in run.batches for stage in batch.stages)
    assert [batch.index for batch in run.batches] == list(range(fit_into_the_pool + 150))
    assert run.device.reason == ""  # device timing went on
    assert (cuda.live_events, cuda.retained_contexts) == (0, 0)


def never_finish() -> None:
    """Work that the device does not get done: stop() waits, but not for ever."""
    cuda = CudaControl()
    profiler = new_profiler(sample_gpu=False)
    profiler.start()
    for held, count in ((False, 3), (True, 2)):
        time.sleep(0.1)  # what was recorded before is harvested
        if held:
            cuda.hold(STREAM)
        for _ in range(count):
            with profiler.begin_batch() as batch:
                batch.mark("forward")
    began = time.monotonic()
    run = profiler.stop()
    assert 9 < time.monotonic() - began < 20  # ten seconds, as its description says
    assert timed_batches(run) == [True] * 3 + [False] * 2
    assert cuda.live_events == 0


def disappear() -> None:
    cuda, nvml = CudaControl(), NvmlControl()
    profiler = new_profiler()
    with pytest.raises(OSError, match="the loop's own"), profiler:  # noqa: PT012
        for item in profiler.batches(range(10)):
            if item == 5:
                time.sleep(0.3)  # so that what came before is measured
                cuda.vanish()
                nvml.vanish()
            with profiler.stage("forward"):
                cuda.launch(STREAM, 1 * MS)
            time.sleep(0.05)
            if item == 8:
                raise OSError("the loop's own")  # what PyTorch would say of it: the profiler lets it through
    run = profiler.result
    assert run is not None
    assert timed_batches(run) == [True] * 5 + [False] * 4
    assert all(stage.host_ns > 0 for batch in run.batches for stage in batch.stages)
    assert "46" in run.device.reason
    assert run.gpu is not None
    # A GPU that is lost has no power rather than 0 W. Only the reading that was under way may be partly empty.
    assert {reading.power_mw for reading in run.gpu.fast} - {None} == {350_000}
    assert sum(reading.power_mw is None for reading in run.gpu.fast) <= 1
    assert next(tier for tier in run.gpu.tiers if tier.name == "fast").errors > 0
    with pytest.raises(VirnucError):
        profiler.start()
    cuda.vanish(0)
    nvml.vanish(False)
    profiler.start()  # the device is back: the next run is whole again
    with profiler.begin_batch() as batch:
        batch.mark("forward")
    assert timed_batches(profiler.stop()) == [True]


def test_a_device_that_lags_costs_the_times_of_exactly_the_batches_that_found_no_event(standins: Standins) -> None:
    standins.call(lag_behind)


@pytest.mark.slow
def test_a_device_that_never_finishes_is_waited_for_ten_seconds(standins: Standins) -> None:
    standins.call(never_finish)


def test_a_device_that_disappears_takes_its_times_but_not_the_batches(standins: Standins) -> None:
    standins.call(disappear)
