# SPDX-License-Identifier: MIT
"""Injected bottlenecks in real loops over a simulated device: each is named rightly, and a healthy run healthy."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from tests.support.standin import CudaControl, NvmlControl, Standins
from virnuc_profiler import BatchProfiler, _core, diagnose_run
from virnuc_profiler.telemetry.records import ProcessReading

STREAM = 0
BATCHES = 40
MS = 1_000_000

# One batch of a healthy loop: the device works for 12 ms, launching it takes 2 ms, all else fractions of one.
DEVICE_NS = 12 * MS
LAUNCH_S = 0.002
LOADER_S = 0.0002
EMIT_S = 0.001


class Loop:
    """A packed-inference loop like the runner's, two batches in flight, every part of which can be slowed."""

    def __init__(self, *, in_flight: int = 2) -> None:
        self.cuda = CudaControl()
        nvml = NvmlControl()
        nvml.set("throttle_reasons", 0)
        self.in_flight = in_flight
        self.fetch_s = LOADER_S
        self.collate_s = LOADER_S
        self.launch_s = LAUNCH_S
        self.device_ns = [DEVICE_NS] * BATCHES
        self.budget = 4096
        self.synchronize = False
        self.copy_to_pageable_ns = 0

    def run(self) -> Any:
        profiler = BatchProfiler(device="cuda:0")
        flights: deque[Any] = deque()
        with profiler:
            for number in range(BATCHES):
                flights.append(self._launch(profiler, number))
                if len(flights) == self.in_flight:
                    self._hand_over(*flights.popleft())
            while flights:
                self._hand_over(*flights.popleft())
        return profiler.result

    def _launch(self, profiler: BatchProfiler, number: int) -> Any:
        batch = profiler.begin_batch()
        batch.mark("fetch")
        time.sleep(self.fetch_s)
        start_ns = time.monotonic_ns()
        time.sleep(self.collate_s)
        batch.record_interval("collate", start_ns, time.monotonic_ns())
        batch.mark("h2d")
        self.cuda.launch(STREAM, 5_000)
        batch.mark("forward")
        half = self.device_ns[number] // 2
        for _ in range(2):  # kernels are launched while the first of them run
            time.sleep(self.launch_s / 2)
            self.cuda.launch(STREAM, half)
        batch.mark("d2h")
        if self.copy_to_pageable_ns:
            self.cuda.launch(STREAM, self.copy_to_pageable_ns)
            self.cuda.synchronize(STREAM)
        else:
            self.cuda.launch(STREAM, 5_000)
        batch.end_stage()
        batch.set_packing(_core.pack_statistics(np.linspace(0, self.budget, 17).astype(np.int32), self.budget))
        # The runner waits for a batch by its event: that is as far as the stream is filled now.
        return batch, self.cuda.busy_until(STREAM)

    def _hand_over(self, batch: Any, done: int) -> None:
        self.cuda.wait_until(done)
        if self.synchronize:
            self.cuda.synchronize(STREAM)
        batch.mark("emit")
        time.sleep(EMIT_S)
        batch.end()


class ReplayLoop(Loop):
    """As the runner's with a recorded forward, which takes its own time; copies have streams of their own."""

    COPY_IN, COMPUTE, COPY_OUT = 0x11, 0x22, 0x33
    LOOK_UP_S = 0.0005

    def _launch(self, profiler: BatchProfiler, number: int) -> Any:
        batch = profiler.begin_batch()
        batch.mark("fetch")
        time.sleep(self.fetch_s)
        batch.mark("h2d", self.COPY_IN)
        self.cuda.launch(self.COPY_IN, 5_000)
        batch.end_stage()
        time.sleep(self.LOOK_UP_S)
        assert batch.mark_device_timestamped("forward", self.COMPUTE, "d2h")
        time.sleep(self.launch_s)
        self.cuda.launch(self.COMPUTE, self.device_ns[number])
        ends = self.cuda.busy_until(self.COMPUTE)
        begins = ends - self.device_ns[number]  # asked before the launch, it would be too early if that is preempted
        self.cuda.launch(self.COPY_OUT, max(0, ends - self._free_from(self.COPY_OUT)))  # it waits until then
        batch.mark("d2h", self.COPY_OUT)
        self.cuda.launch(self.COPY_OUT, 5_000)
        batch.end_stage()
        batch.set_packing(_core.pack_statistics(np.linspace(0, self.budget, 17).astype(np.int32), self.budget))
        batch.set_device_timestamps(begins + 10**12, ends + 10**12)
        return batch, self.cuda.busy_until(self.COPY_OUT)

    def _free_from(self, stream: int) -> int:
        return max(self.cuda.busy_until(stream), self.cuda.device_time(time.monotonic_ns()))


def verdict(run: Any) -> dict[str, Any]:
    """Return what the test needs: the verdict and, for a failing test, everything that it is based on."""
    found = diagnose_run(run)
    return {
        "bottleneck": found.bottleneck,
        "healthy": found.healthy,
        "sentence": found.sentence,
        "evidence": [tuple(line) for line in found.evidence],
        "further": found.further,
        "lost_time": dict(found.lost_time),
        "stage_share": found.stage_share,
        "timestamped_share": found.timestamped_share,
        "gaps": [asdict(line) for line in found.gaps],
    }


def healthy() -> Any:
    """Three batches in flight, so that a busy machine that runs the tests does not let the device run dry."""
    return verdict(Loop(in_flight=3).run())


def healthy_replays() -> Any:
    return verdict(ReplayLoop(in_flight=3).run())


def slow_reader() -> Any:
    loop = Loop()
    loop.fetch_s = 0.03
    return verdict(loop.run())


def slow_collation() -> Any:
    loop = Loop()
    loop.collate_s = 0.03
    return verdict(loop.run())


def a_synchronize_per_batch() -> Any:
    loop = Loop()
    loop.synchronize = True
    return verdict(loop.run())


def one_batch_in_flight() -> Any:
    return verdict(Loop(in_flight=1).run())


def replays_launched_late() -> Any:
    """The device waits between the copy and the replay: for the host only."""
    loop = ReplayLoop(in_flight=4)
    loop.launch_s, loop.device_ns = 0.02, [2 * MS] * BATCHES
    return verdict(loop.run())


def tiny_budgets() -> Any:
    """Kernels that are done before the next is launched."""
    loop = Loop()
    loop.budget, loop.launch_s, loop.device_ns = 64, 0.02, [200_000] * BATCHES
    NvmlControl().set("sm_activity", 0.2)
    return verdict(loop.run())


def an_unpinned_copy() -> Any:
    loop = Loop()
    loop.copy_to_pageable_ns = 4 * MS
    return verdict(loop.run())


def a_device_that_is_slower_for_half_of_the_run() -> Any:
    """The device is slower for like batches, while clocks are what they were, and NVML sees no other process."""
    loop = Loop()
    loop.device_ns = [DEVICE_NS] * (BATCHES // 2) + [3 * DEVICE_NS] * (BATCHES // 2)
    return verdict(loop.run())


def a_competing_process() -> Any:
    run = Loop().run()
    readings = tuple(ProcessReading(run.host_start_ns + at * 100 * MS, 1, 45) for at in range(20))
    return verdict(replace(run, gpu=replace(run.gpu, processes=readings)))


def throttled() -> Any:
    loop = Loop()
    nvml = NvmlControl()
    nvml.set("throttle_reasons", 0x40 | 0x8)
    nvml.set("sm_clock_mhz", 990)
    return verdict(loop.run())


def settled(standins: Standins, scenario: Any, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Diagnose a scenario, up to ten times until the diagnosis holds.

    The simulated device keeps real time, so on a busy machine the loop can be preempted for longer than a batch takes,
    and device and host clocks are compared less exactly. A wrong diagnosis fails every time.
    """
    for _ in range(10):
        found: dict[str, Any] = standins.call(scenario)
        if holds(found):
            break
    return found


@pytest.mark.parametrize(
    ("scenario", "bound"),
    [
        (slow_reader, "data_loading"),
        (slow_collation, "collation"),
        (a_synchronize_per_batch, "synchronizing"),
        (one_batch_in_flight, "synchronizing"),
        (tiny_budgets, "launching"),
        (replays_launched_late, "launching"),
        (an_unpinned_copy, "copying"),
        (a_device_that_is_slower_for_half_of_the_run, "unsteady_device"),
        (a_competing_process, "shared_device"),
        (throttled, "throttling"),
    ],
)
def test_an_injected_bottleneck_is_named(standins: Standins, scenario: Any, bound: str) -> None:
    found = settled(standins, scenario, lambda found: found["bottleneck"] == bound)
    assert found["bottleneck"] == bound, found
    assert not found["healthy"]


def test_a_late_host_is_not_taken_for_a_shared_device(standins: Standins) -> None:
    found = settled(standins, replays_launched_late, lambda found: found["lost_time"].get("shared_device", 0.0) < 0.02)
    assert found["lost_time"].get("shared_device", 0.0) < 0.02, found


@pytest.mark.parametrize("scenario", [healthy, healthy_replays])
def test_a_healthy_run_is_called_healthy(standins: Standins, scenario: Any) -> None:
    found = settled(standins, scenario, lambda found: found["healthy"])
    assert found["healthy"], found
    assert found["bottleneck"] in ("device_arithmetic", "memory_bandwidth")
    if scenario is healthy_replays:
        assert 0.9 < found["timestamped_share"] <= found["stage_share"]
        assert "by its own timestamps" in found["sentence"]
    else:
        assert found["timestamped_share"] is None
