# SPDX-License-Identifier: MIT
"""BatchProfiler on a device, with the same compiled code as on a real one, through the stand-in driver and NVML."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.standin import CARD_UUID, CudaControl, NvmlControl, Standins
from virnuc_profiler import BatchProfiler, RunResult, _core

LAUNCH_NS = 2_000_000


def a_run_of_three() -> list[Any]:
    cuda, nvml = CudaControl(), NvmlControl()
    cuda.set_clock(123_456_789, 50.0)
    nvml.set("power_mw", 321_000)
    profiler = BatchProfiler(device="cuda:0", stages=("fetch", "forward", "emit"))
    with profiler:
        for _ in profiler.batches(range(3)):
            with profiler.stage("forward"):
                cuda.launch(0, LAUNCH_NS)
            time.sleep(0.15)
    run = profiler.result
    assert run is not None
    assert run.gpu is not None, run.device.sampling_reason
    forward = [stage for batch in run.batches for stage in batch.stages if stage.name == "forward"]
    return [
        run.device.uuid,
        [run.device.timed, run.device.reason, run.device.dropped_batches],
        [stage.device_ns for stage in forward],
        [abs(stage.device_start_ns - stage.host_start_ns) for stage in forward if stage.device_start_ns],
        sorted({reading.power_mw for reading in run.gpu.fast}),
        [tier.name for tier in run.gpu.tiers],
    ]


def test_device_times_and_samples_of_a_run(standins: Standins) -> None:
    uuid, device, device_ns, start_differences, powers, tiers = standins.call(a_run_of_three)
    assert uuid == CARD_UUID
    assert device == [True, "", 0]
    assert all(LAUNCH_NS <= ns < LAUNCH_NS + 5_000_000 for ns in device_ns)
    assert len(start_differences) == 3
    assert max(start_differences) < 5_000_000, "device times are not on the host's axis"
    assert powers == [321_000]
    assert tiers == ["fast", "gpm", "energy", "processes"]


def a_device_that_vanishes() -> list[Any]:
    cuda = CudaControl()
    profiler = BatchProfiler(device=0, stages=("forward",))
    with profiler:
        for index, _ in enumerate(profiler.batches(range(6), stage=None)):
            if index == 3:
                time.sleep(0.1)
                cuda.vanish()
            with profiler.stage("forward"):
                cuda.launch(0, LAUNCH_NS)
    run = profiler.result
    assert run is not None
    timed = [batch.stages[0].device_ns is not None for batch in run.batches]
    return [timed, [batch.stages[0].host_ns > 0 for batch in run.batches], run.device.reason]


def test_batches_survive_a_device_that_vanishes(standins: Standins) -> None:
    timed, host, reason = standins.call(a_device_that_vanishes)
    assert host == [True] * 6
    assert timed[3:] == [False] * 3
    assert "46" in reason


def without_nvml() -> list[Any]:
    profiler = BatchProfiler(device=0, stages=("forward",))
    with profiler:
        for _ in profiler.batches(range(2), stage=None):
            pass
    run = profiler.result
    assert run is not None
    return [run.gpu is None, run.device.timed, run.device.sampling_reason]


def test_times_are_taken_without_nvml(standins: Standins) -> None:
    no_samples, timed, reason = standins.call(without_nvml, libraries=("cuda",))
    assert (no_samples, timed) == (True, True)
    assert "libnvidia-ml" in reason


def many_batches(count: int) -> list[Any]:
    cuda = CudaControl()
    cuda.set_latency(0)
    statistics = _core.pack_statistics(np.array([0, 10, 30], np.int32), 32)
    profiler = BatchProfiler(device=0, stages=("fetch", "forward"))
    with profiler:
        for _ in range(count):
            batch = profiler.begin_batch()
            batch.mark("fetch")
            batch.mark("forward")
            batch.set_packing(statistics)
            batch.end()
    run = profiler.result
    assert run is not None
    with tempfile.TemporaryDirectory() as folder:
        loaded = RunResult.load(run.save(Path(folder) / "run.json"))
    in_order = all(batch.index == index for index, batch in enumerate(loaded.batches))
    timed = sum(batch.stages[1].device_ns is not None for batch in loaded.batches)
    return [len(loaded.batches), in_order, loaded.total_tokens, timed + run.device.dropped_batches]


def test_the_saved_result_has_all_of_100_000_tiny_batches(standins: Standins) -> None:
    count = 100_000
    assert standins.call(many_batches, count, timeout_s=240) == [count, True, 30 * count, count]
