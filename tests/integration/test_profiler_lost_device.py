# SPDX-License-Identifier: MIT
"""BatchProfiler on a device that lags behind the host or disappears: batches without device times are counted."""

import time

import pytest

from tests.support.standin import CudaControl, NvmlControl, Standins
from virnuc_profiler import BatchProfiler, RunResult
from virnuc_profiler.errors import VirnucError

MS = 1_000_000
STREAM = 0x77
EVENT_POOL_SIZE = 4096
"""Documented in docs/profile-your-loop.md."""


def new_profiler(*, sample_gpu: bool = True) -> BatchProfiler:
    return BatchProfiler(device=0, stages=("forward",), stream=STREAM, sample_gpu=sample_gpu)


def timed_batches(run: RunResult) -> list[bool]:
    """Return for each batch whether its stage has a device time; check that batch flags and totals agree."""
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
        time.sleep(0.3)  # the collector returns the events to the pool
        for _ in profiler.batches(range(50)):
            with profiler.stage("forward"):
                pass
    run = profiler.result
    assert timed_batches(run) == [True] * fit_into_the_pool + [False] * 100 + [True] * 50
    assert all(stage.host_ns > 0 for batch in run.batches for stage in batch.stages)
    assert [batch.index for batch in run.batches] == list(range(fit_into_the_pool + 150))
    assert run.device.reason == ""  # device timing continued
    assert (cuda.live_events, cuda.retained_contexts) == (0, 0)


def never_finish() -> None:
    """The device never finishes its work: stop() waits for a limited time."""
    cuda = CudaControl()
    profiler = new_profiler(sample_gpu=False)
    profiler.start()
    for held, count in ((False, 3), (True, 2)):
        time.sleep(0.1)  # earlier events are collected
        if held:
            cuda.hold(STREAM)
        for _ in range(count):
            with profiler.begin_batch() as batch:
                batch.mark("forward")
    began = time.monotonic()
    run = profiler.stop()
    assert 9 < time.monotonic() - began < 20  # ten seconds, as documented
    assert timed_batches(run) == [True] * 3 + [False] * 2
    assert cuda.live_events == 0


def disappear() -> None:
    cuda, nvml = CudaControl(), NvmlControl()
    profiler = new_profiler()
    with pytest.raises(OSError, match="the loop's own"), profiler:  # noqa: PT012
        for item in profiler.batches(range(10)):
            if item == 5:
                time.sleep(0.3)  # so that earlier batches are measured
                cuda.vanish()
                nvml.vanish()
            with profiler.stage("forward"):
                cuda.launch(STREAM, 1 * MS)
            time.sleep(0.05)
            if item == 8:
                raise OSError("the loop's own")  # stands for PyTorch's error; the profiler lets it pass
    run = profiler.result
    assert run is not None
    assert timed_batches(run) == [True] * 5 + [False] * 4
    assert all(stage.host_ns > 0 for batch in run.batches for stage in batch.stages)
    assert "46" in run.device.reason
    assert run.gpu is not None
    # The power of a lost GPU is unknown rather than 0 W. Only the reading in progress may be partly empty.
    assert {reading.power_mw for reading in run.gpu.fast} - {None} == {350_000}
    assert sum(reading.power_mw is None for reading in run.gpu.fast) <= 1
    assert next(tier for tier in run.gpu.tiers if tier.name == "fast").errors > 0
    with pytest.raises(VirnucError):
        profiler.start()
    cuda.vanish(0)
    nvml.vanish(False)
    profiler.start()  # the device is back: the next run is complete
    with profiler.begin_batch() as batch:
        batch.mark("forward")
    assert timed_batches(profiler.stop()) == [True]


def test_a_lagging_device_loses_only_the_times_of_batches_without_events(standins: Standins) -> None:
    standins.call(lag_behind)


@pytest.mark.slow
def test_stop_waits_ten_seconds_for_a_device_that_never_finishes(standins: Standins) -> None:
    standins.call(never_finish)


def test_batches_survive_a_device_that_disappears(standins: Standins) -> None:
    standins.call(disappear)
