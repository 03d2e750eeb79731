# SPDX-License-Identifier: MIT
"""A capture of kernels around a real loop over a simulated device; the tracer writes what Kineto would."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from tests.support.kineto_traces import TraceBuilder
from tests.support.standin import CudaControl, Standins
from virnuc_profiler import BatchProfiler, RunResult, _core
from virnuc_profiler.errors import LibraryUnavailable
from virnuc_profiler.sweep.kernels.kernel_pass import add_kernels, save_kernels

STREAM = 0
BATCHES = 40
LAUNCHES = 3
KERNEL_NS = 1_000_000


class Tracer:
    """In the place of ``torch.profiler.profile``: records while it runs."""

    running: "Tracer | None" = None

    def __init__(self, *, activities: Any) -> None:
        assert list(activities) == [torch.profiler.ProfilerActivity.CUDA]
        self.builder = TraceBuilder()

    def start(self) -> None:
        Tracer.running = self

    def stop(self) -> None:
        Tracer.running = None

    def export_chrome_trace(self, path: str) -> None:
        Path(path).write_text(json.dumps(self.builder.document()))


class Loop:
    """Launches a few kernels in each batch, late, so that the device waits for each one."""

    def __init__(self, cuda: CudaControl, batches: int) -> None:
        self.cuda = cuda
        self.batches = batches
        self.closed = False
        self._idle_at = 0

    def __call__(self, profiler: BatchProfiler) -> Iterator[int]:
        try:
            for _ in profiler.batches(range(self.batches)):
                lengths = np.array([0, 50, 100], np.int32)
                profiler.current_batch.set_packing(_core.pack_statistics(lengths, 128))
                with profiler.stage("forward"):
                    for kernel in range(LAUNCHES):
                        time.sleep(0.002)
                        self._launch(f"kernel {kernel}")
                yield 2
        finally:
            self.closed = True

    def synchronize(self, _device: Any = None) -> None:
        begin = time.monotonic_ns()
        while time.monotonic_ns() < self._idle_at:
            time.sleep(0.0005)
        if Tracer.running is not None:
            end = time.monotonic_ns()
            Tracer.running.builder.call(begin, "cudaDeviceSynchronize", took_ns=end - begin)

    def _launch(self, name: str) -> None:
        now = time.monotonic_ns()
        self.cuda.launch(STREAM, KERNEL_NS)
        start = max(now, self._idle_at)
        self._idle_at = start + KERNEL_NS
        if Tracer.running is not None:
            builder = Tracer.running.builder
            builder.operation(builder.call(now), start, self._idle_at, name)


def install(loop: Loop) -> None:
    """Put the tracer and the loop's synchronization in the place of PyTorch's."""
    torch.profiler.profile = Tracer  # type: ignore[misc,assignment]
    torch.profiler.supported_activities = lambda: {torch.profiler.ProfilerActivity.CUDA}
    torch.cuda.synchronize = loop.synchronize


def a_captured_loop() -> Any:
    loop = Loop(CudaControl(), BATCHES)
    install(loop)
    profiler = BatchProfiler(device="cuda:0", run_id="measured", sample_gpu=False)
    with profiler:
        list(loop(profiler))
    with TemporaryDirectory() as folder:
        path = profiler.result.save(Path(folder, "run.json"))
        loop.closed = False
        save_kernels(path, loop, num_batches=20, device="cuda:0")
        saved = RunResult.load(path)
    found = saved.kernels
    assert found is not None
    assert replace(saved, kernels=None).batches.to_columns() == profiler.result.batches.to_columns()
    return [loop.closed, found.to_json(), found.busy_share, found.busy_share_at_own_pace]


def a_loop_that_ends_early() -> str:
    loop = Loop(CudaControl(), 2)
    install(loop)
    profiler = BatchProfiler(device="cuda:0", run_id="measured", sample_gpu=False)
    with profiler:
        list(Loop(loop.cuda, BATCHES)(profiler))
    with TemporaryDirectory() as folder:
        path = profiler.result.save(Path(folder, "run.json"))
        try:
            save_kernels(path, loop, num_batches=20, device="cuda:0")
        except ValueError as error:
            assert loop.closed
            assert RunResult.load(path).kernels is None
            return str(error)
    return ""


def test_a_capture_agrees_with_what_the_loop_launched(standins: Standins) -> None:
    closed, found, share, at_pace = standins.call(a_captured_loop, libraries=("cuda",))
    assert closed
    assert found["batches"] == 20
    assert found["launches"] == found["operations"] == 20 * LAUNCHES
    assert {one["stage"] for one in found["stages"]} == {"forward"}
    assert [one["count"] for one in found["kernels"]] == [20] * LAUNCHES
    assert abs(found["busy_ns"] - 20 * LAUNCHES * KERNEL_NS) < KERNEL_NS  # those of 20 batches, and of no other
    assert share < 0.9  # a kernel of 1 ms follows each pause of 2 ms
    assert 0 < at_pace <= 1
    assert found["busy_ns"] + found["idle_in_stages_ns"] + found["idle_between_ns"] == found["window_ns"]
    assert found["idle_in_stages_ns"] > 0


def test_a_loop_that_ends_before_the_capture_says_so(standins: Standins) -> None:
    message = standins.call(a_loop_that_ends_early, libraries=("cuda",))
    assert message == "the loop ended after 2 batches, before CUPTI was to be started: use more sequences"


def without_cuda() -> str:
    loop = Loop(CudaControl(), BATCHES)
    profiler = BatchProfiler(device="cuda:0", sample_gpu=False)
    with profiler:
        list(loop(profiler))
    torch.profiler.supported_activities = lambda: {torch.profiler.ProfilerActivity.CPU}
    try:
        add_kernels(profiler.result, loop, device="cuda:0")
    except LibraryUnavailable as error:
        return str(error)
    return ""


def test_a_pytorch_without_cuda_says_so(standins: Standins) -> None:
    assert "cannot record kernels: it was built without CUDA" in standins.call(without_cuda, libraries=("cuda",))
