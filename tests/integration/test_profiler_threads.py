# SPDX-License-Identifier: MIT
"""BatchProfiler used from several threads at once."""

import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

from tests.support.nvtx_ranges import replay_ranges
from tests.support.standin import CudaControl, Standins
from virnuc_profiler import BatchProfiler, _core

MS = 1_000_000
THREADS = 4
ITEMS = 50


def in_threads(count: int, work: Any) -> None:
    """Run ``work(number)`` in `count` threads at once, and raise their first exception."""
    errors: list[BaseException] = []
    together = threading.Barrier(count)

    def guarded(number: int) -> None:
        try:
            together.wait()
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def new_profiler() -> BatchProfiler:
    return BatchProfiler(device=0, stages=("fetch", "forward"), sample_gpu=False)


def record_batches_of_their_own() -> None:
    sys.setswitchinterval(1e-6)
    cuda = CudaControl()
    profiler = new_profiler()

    def loop(number: int) -> None:
        stream = 0x100 + number
        cuda.launch(stream, 2_000 * MS)
        for item in range(ITEMS):
            with profiler.begin_batch(index=1000 * number + item) as batch:
                batch.mark("fetch")
                batch.mark("forward", stream)
                cuda.launch(stream, (number + 1) * MS)
                batch.set_packing(_core.pack_statistics(np.array([0, number + 1], np.int32)))

    with profiler:
        in_threads(THREADS, loop)
    run = profiler.result
    assert sorted(batch.index for batch in run.batches) == [1000 * t + i for t in range(THREADS) for i in range(ITEMS)]
    assert run.total_tokens == ITEMS * sum(range(1, THREADS + 1))
    for batch in run.batches:
        assert [stage.name for stage in batch.stages] == ["fetch", "forward"]
        assert round(batch.stages[1].device_ns / MS) == batch.packing.tokens == batch.index // 1000 + 1
    assert run.device.dropped_batches == 0
    assert (cuda.live_events, cuda.retained_contexts) == (0, 0)
    ranges = replay_ranges()
    assert ranges.open_at_the_end == []
    assert ranges.counts == {"fetch": THREADS * ITEMS, "forward": THREADS * ITEMS}


class SlowToBegin:
    """A timeline that yields to other threads while it begins a batch, as the scheduler may at any time."""

    def __init__(self, timeline: _core.Timeline) -> None:
        self._timeline = timeline

    def begin_batch(self, index: int) -> _core.Batch:
        time.sleep(0.005)
        return self._timeline.begin_batch(index)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._timeline, name)


def number_batches_by_themselves() -> None:
    profiler = BatchProfiler(device="cpu", stages=("forward",), nvtx_ranges=False)

    def loop(_: int) -> None:
        for _ in range(10):
            profiler.begin_batch().end()

    with profiler:
        profiler._timeline = SlowToBegin(profiler._timeline)
        in_threads(THREADS, loop)
    indices = sorted(batch.index for batch in profiler.result.batches)
    assert indices == list(range(THREADS * 10))


def loop_over_batches() -> None:
    profiler = BatchProfiler(device="cpu", stages=("fetch", "forward"), nvtx_ranges=False)
    turn = threading.Barrier(2, timeout=10)

    def loop(number: int) -> None:
        for _ in profiler.batches(range(20)):
            turn.wait()  # both threads have begun a batch
            with profiler.stage("forward"):
                turn.wait()

    with profiler:
        in_threads(2, loop)
    stages = [[stage.name for stage in batch.stages] for batch in profiler.result.batches]
    assert stages == [["fetch", "forward"]] * 40


def stop_under_a_running_loop() -> None:
    cuda = CudaControl()
    profiler = new_profiler()
    begun = 0
    enough = threading.Event()
    ended_by: list[BaseException] = []

    def loop() -> None:
        nonlocal begun
        try:
            while True:
                batch = profiler.begin_batch()
                begun += 1
                if begun == 100:
                    enough.set()
                batch.mark("forward")
                batch.end()
        except Exception as error:
            ended_by.append(error)

    profiler.start()
    thread = threading.Thread(target=loop)
    thread.start()
    enough.wait()
    run = profiler.stop()
    thread.join()
    assert type(ended_by[0]) in (RuntimeError, ValueError)
    assert "not running" in str(ended_by[0]) or "stopped" in str(ended_by[0]) or "has ended" in str(ended_by[0])
    assert 99 <= len(run.batches) <= begun
    assert [batch.index for batch in run.batches] == list(range(len(run.batches)))
    untimed = sum(any(stage.device_ns is None for stage in batch.stages) for batch in run.batches)
    assert untimed == sum(batch.device_times_dropped for batch in run.batches)
    assert (cuda.live_events, cuda.retained_contexts) == (0, 0)


@pytest.mark.parametrize(
    "scenario", [record_batches_of_their_own, stop_under_a_running_loop], ids=lambda scenario: scenario.__name__
)
def test_threads(standins: Standins, scenario: Any) -> None:
    standins.call(scenario, libraries=("cuda", "nvtx"))
