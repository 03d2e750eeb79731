# SPDX-License-Identifier: MIT
"""A profiled process forks: the child touches neither CUDA nor the run of its parent."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support.standin import CudaControl, Standins
from virnuc_profiler import BatchProfiler, _core
from virnuc_profiler.errors import LibraryUnavailable, VirnucError

MS = 1_000_000
STREAM = 0x77


def in_a_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked child and return its exit status; SIGALRM ends a child that hangs."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fork_in_a_batch() -> None:
    cuda = CudaControl()
    profiler = BatchProfiler(device=0, stages=("fetch", "forward"), stream=STREAM)
    with profiler:
        cuda.launch(STREAM, 300 * MS)
        for item in profiler.batches(range(4)):
            with profiler.stage("forward") as stage:
                cuda.launch(STREAM, 10 * MS)

                def go_on_in_the_child(stage: Any = stage) -> None:
                    stage.__exit__(None, None, None)
                    batch = profiler.current_batch
                    batch.mark("fetch")
                    batch.set_packing(_core.pack_statistics(np.array([0, 3], np.int32)))
                    batch.end()
                    with pytest.raises(VirnucError, match="parent process"):
                        profiler.begin_batch()
                    profiler.stop()  # as the end of the with statement does
                    with pytest.raises(LibraryUnavailable, match="forked"):
                        BatchProfiler(device=0)
                    with BatchProfiler(device="auto", stages=("work",)) as own:
                        own.begin_batch().end()
                    assert len(own.result.batches) == 1
                    assert "forked" in own.result.device.reason
                    assert cuda.forked_child_calls == 0

                if item == 1:
                    assert in_a_child(go_on_in_the_child) == 0
    run = profiler.result
    forward = [stage for batch in run.batches for stage in batch.stages if stage.name == "forward"]
    assert [round(stage.device_ns / MS) for stage in forward] == [10] * 4
    assert run.device.reason == ""
    assert run.device.dropped_batches == 0
    assert [batch.packing for batch in run.batches] == [None] * 4
    assert len(run.gpu.fast) > 0
    assert (cuda.live_events, cuda.retained_contexts) == (0, 0)


def fork_often_under_busy_threads() -> None:
    """A lock that another thread holds at the fork is never released in the child."""
    cuda = CudaControl()
    profiler = BatchProfiler(device=0, stages=("forward",), stream=STREAM)
    with profiler:
        statuses = []
        for _ in profiler.batches(range(40), stage=None):
            for _ in range(20):
                with profiler.stage("forward"):
                    pass
            statuses.append(in_a_child(lambda: profiler.stop() and None))
    assert statuses == [0] * 40
    assert len(profiler.result.batches) == 40
    assert profiler.result.device.dropped_batches == 0
    assert cuda.forked_child_calls == 0


def leave_through_the_interpreter() -> None:
    """The child exits normally: the with statement ends, and the interpreter and destructors run."""
    profiler = BatchProfiler(device=0, stages=("forward",), stream=STREAM)
    with profiler:
        for item in profiler.batches(range(3), stage=None):
            with profiler.stage("forward"):
                if item == 1:
                    pid = os.fork()
                    if pid == 0:
                        signal.alarm(20)
                        raise SystemExit(7)
                    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    assert status == 7, f"the child ended with {status}"
    assert len(profiler.result.batches) == 3
    assert profiler.result.device.dropped_batches == 0


class CountingDataset:
    """Items with the process that made them and the CUDA calls of that process."""

    def __init__(self) -> None:
        self.cuda = CudaControl()

    def __len__(self) -> int:
        return 12

    def __getitem__(self, item: int) -> tuple[int, int, int]:
        return item, os.getpid(), self.cuda.forked_child_calls


def load_with_forked_workers() -> None:
    from torch.utils.data import DataLoader

    dataset = CountingDataset()
    loader = DataLoader(dataset, batch_size=2, num_workers=2, multiprocessing_context="fork", collate_fn=list)
    profiler = BatchProfiler(device=0, stages=("fetch", "forward"), stream=STREAM)
    items = []
    with profiler:
        for _ in range(2):  # the second pass forks in the middle of the run
            for batch in profiler.batches(loader):
                with profiler.stage("forward"):
                    dataset.cuda.launch(STREAM, 1 * MS)
                items += batch
    assert [item for item, _, _ in items] == list(range(12)) * 2
    assert os.getpid() not in {pid for _, pid, _ in items}
    assert {calls for _, _, calls in items} == {0}
    run = profiler.result
    assert len(run.batches) == 12
    assert run.device.dropped_batches == 0
    assert all(stage.device_ns is not None for batch in run.batches for stage in batch.stages if stage.name != "fetch")
    assert (dataset.cuda.live_events, dataset.cuda.retained_contexts) == (0, 0)


def fork_before_the_run() -> None:
    """A profiler that was constructed but not started before the fork."""
    profiler = BatchProfiler(device=0, stages=("forward",))

    def start_in_the_child() -> None:
        cuda = CudaControl()
        with pytest.raises(VirnucError, match="forked"):
            profiler.start()
        assert cuda.forked_child_calls == 0

    assert in_a_child(start_in_the_child) == 0
    with profiler:
        for _ in profiler.batches(range(2)):
            time.sleep(0)
    assert len(profiler.result.batches) == 2


SCENARIOS = [
    fork_in_a_batch,
    fork_often_under_busy_threads,
    leave_through_the_interpreter,
    load_with_forked_workers,
    fork_before_the_run,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_forks(standins: Standins, scenario: Any) -> None:
    standins.call(scenario, timeout_s=120)
