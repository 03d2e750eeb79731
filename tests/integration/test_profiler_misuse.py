# SPDX-License-Identifier: MIT
"""BatchProfiler in loops that exit early, nest, interleave, or start at the wrong time."""

import asyncio
import time
from typing import Any

import numpy as np
import pytest

from tests.support.nvtx_ranges import replay_ranges
from tests.support.standin import CudaControl, Standins
from virnuc_profiler import BatchProfiler, RunResult, _core

MS = 1_000_000
STREAM = 0x77


def new_profiler(**options: Any) -> BatchProfiler:
    settings: dict[str, Any] = {"device": 0, "stages": ("fetch", "forward"), "stream": STREAM, "sample_gpu": False}
    return BatchProfiler(**(settings | options))


def forward_ms(run: RunResult) -> list[int | None]:
    """Return the device time of stage "forward" in whole ms for each batch; None where it is missing."""
    found = [next(stage.device_ns for stage in batch.stages if stage.name == "forward") for batch in run.batches]
    return [None if ns is None else round(ns / MS) for ns in found]


def assert_device_given_back(cuda: CudaControl) -> None:
    assert cuda.live_events == 0
    assert cuda.retained_contexts == 0


def enter_twice() -> None:
    cuda = CudaControl()
    profiler = new_profiler()
    with profiler:
        cuda.launch(STREAM, 300 * MS)  # a backlog, so that the host's pace does not affect device times
        contexts = cuda.retained_contexts
        for index, _ in enumerate(profiler.batches(range(4))):
            with profiler.stage("forward"):
                cuda.launch(STREAM, (index + 1) * 10 * MS)
                if index == 1:
                    with pytest.raises(RuntimeError, match="is running"), profiler:
                        raise AssertionError("the body of the second entry ran")
        assert cuda.retained_contexts == contexts
    assert forward_ms(profiler.result) == [10, 20, 30, 40]
    assert [batch.index for batch in profiler.result.batches] == [0, 1, 2, 3]
    assert_device_given_back(cuda)
    assert replay_ranges().open_at_the_end == []


def nest_loops() -> None:
    cuda = CudaControl()
    outer, inner = new_profiler(), new_profiler(stages=("part",))
    with outer, inner:
        cuda.launch(STREAM, 300 * MS)
        for _ in outer.batches(range(2)):
            with outer.stage("forward"):
                for _ in inner.batches(range(3)):
                    with inner.stage("part"):
                        cuda.launch(STREAM, 10 * MS)
    assert [round(batch.stages[0].device_ns / MS) for batch in inner.result.batches] == [10] * 6
    assert forward_ms(outer.result) == [30, 30]
    assert_device_given_back(cuda)
    ranges = replay_ranges()
    assert ranges.open_at_the_end == []
    assert ranges.counts == {"fetch": 3, "forward": 2, "part": 6}  # the third fetch found no item


def nest_runs() -> None:
    """A run inside each batch of another run: its end waits for the device within the outer stage."""
    cuda = CudaControl()
    outer, inner = new_profiler(), new_profiler(stages=("part",))
    with outer:
        for _ in outer.batches(range(2)):
            with outer.stage("forward"):
                with inner:
                    cuda.launch(STREAM, 300 * MS)
                    for _ in inner.batches(range(3)):
                        with inner.stage("part"):
                            cuda.launch(STREAM, 10 * MS)
                assert [round(batch.stages[0].device_ns / MS) for batch in inner.result.batches] == [10] * 3
    assert all(ms >= 330 for ms in forward_ms(outer.result))
    assert_device_given_back(cuda)
    assert replay_ranges().open_at_the_end == []


def chain_two() -> None:
    """The loop of one profiler feeds that of another: their batches overlap without nesting."""
    cuda = CudaControl()
    first, second = new_profiler(stages=("fetch", "forward")), new_profiler(stages=("fetch", "forward"))
    with first, second:
        cuda.launch(STREAM, 300 * MS)
        for _ in first.batches(second.batches(range(3))):
            with first.stage("forward"), second.stage("forward"):
                cuda.launch(STREAM, 10 * MS)
    assert forward_ms(first.result) == forward_ms(second.result) == [10, 10, 10]
    assert_device_given_back(cuda)
    assert replay_ranges().open_at_the_end == []


def raise_in_the_loop(kind: str) -> None:
    cuda = CudaControl()
    error = {"KeyError": KeyError, "KeyboardInterrupt": KeyboardInterrupt}[kind]
    profiler = new_profiler()
    with pytest.raises(error, match="mine"), profiler:  # noqa: PT012
        cuda.launch(STREAM, 300 * MS)
        for item in profiler.batches(range(9)):
            with profiler.stage("forward"):
                cuda.launch(STREAM, 10 * MS)
                if item == 2:
                    raise error("mine")
    assert forward_ms(profiler.result) == [10, 10, 10]  # includes the batch of the exception
    assert_device_given_back(cuda)
    assert replay_ranges().open_at_the_end == []
    profiler.start()  # can be used again
    profiler.begin_batch().end()
    assert len(profiler.stop().batches) == 1


def leave_the_loop_early() -> None:
    cuda = CudaControl()
    profiler = new_profiler()
    with profiler:
        for item in profiler.batches(range(9)):
            if item == 1:
                break
        kept = profiler.batches(range(9))
        next(kept)
        kept.close()
        with pytest.raises(StopIteration):
            next(kept)
        left_ns = time.monotonic_ns()
        time.sleep(0.05)
        assert profiler.begin_batch().index == 3
    batches = profiler.result.batches
    assert [batch.index for batch in batches] == [0, 1, 2, 3]
    assert all(batch.host_end_ns <= left_ns for batch in batches[:3]), "a batch lasted beyond its loop"
    assert_device_given_back(cuda)
    assert replay_ranges().open_at_the_end == []


def use_again() -> None:
    cuda = CudaControl()
    profiler = new_profiler()
    results = []
    for count in (3, 1, 2):
        with profiler:
            for _ in profiler.batches(range(count)):
                with profiler.stage("forward"):
                    pass
        results.append(profiler.result)
        assert_device_given_back(cuda)
    assert [[batch.index for batch in run.batches] for run in results] == [[0, 1, 2], [0], [0, 1]]
    assert all(ms is not None for run in results for ms in forward_ms(run))
    ends = [(run.host_start_ns, run.host_end_ns) for run in results]
    assert ends == sorted(ends)
    assert ends[0][1] <= ends[1][0]


def interleave_generators() -> None:
    cuda = CudaControl()
    profiler = new_profiler()
    with profiler:
        pairs = list(zip(profiler.batches("abc"), profiler.batches("xyz"), strict=False))
    assert pairs == [("a", "x"), ("b", "y"), ("c", "z")]
    assert [batch.index for batch in profiler.result.batches] == list(range(6))
    assert_device_given_back(cuda)
    assert replay_ranges().open_at_the_end == []


def interleave_coroutines() -> None:
    cuda = CudaControl()
    profiler = new_profiler()

    async def worker(stream: int) -> None:
        for length in range(1, 5):
            with profiler.begin_batch() as batch:
                batch.mark("fetch")
                await asyncio.sleep(0.001 * (stream % 3))
                batch.mark("forward", stream)
                cuda.launch(stream, length * 10 * MS)
                await asyncio.sleep(0)
                batch.set_packing(_core.pack_statistics(np.array([0, length], np.int32)))

    async def workers() -> None:
        await asyncio.gather(*(worker(stream) for stream in range(0x100, 0x105)))

    with profiler:
        for stream in range(0x100, 0x105):
            cuda.launch(stream, 300 * MS)
        asyncio.run(workers())
    run = profiler.result
    assert sorted(batch.index for batch in run.batches) == list(range(20))
    assert sorted(forward_ms(run)) == sorted([10, 20, 30, 40] * 5)
    assert run.total_tokens == 5 * (1 + 2 + 3 + 4)
    assert [ms // 10 for ms in forward_ms(run)] == [batch.packing.tokens for batch in run.batches]
    assert_device_given_back(cuda)
    assert replay_ranges().open_at_the_end == []


SCENARIOS = [
    enter_twice,
    nest_loops,
    nest_runs,
    chain_two,
    leave_the_loop_early,
    use_again,
    interleave_generators,
    interleave_coroutines,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_misuse(standins: Standins, scenario: Any) -> None:
    standins.call(scenario, libraries=("cuda", "nvtx"))


@pytest.mark.parametrize("kind", ["KeyError", "KeyboardInterrupt"])
def test_an_exception_in_the_loop_keeps_the_recorded_batches(standins: Standins, kind: str) -> None:
    standins.call(raise_in_the_loop, kind, libraries=("cuda", "nvtx"))
