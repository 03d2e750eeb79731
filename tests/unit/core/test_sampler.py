# SPDX-License-Identifier: MIT
"""The GPU sampler through the stand-in NVML."""

import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support.standin import CARD_UUID, FOREVER, MIG_UUID, NvmlControl, Standins
from virnuc_profiler import _core
from virnuc_profiler.errors import LibraryUnavailable, VirnucError

MS = 1_000_000
NOT_SUPPORTED = 3
INTERVALS = ("fast_interval_ms", "gpm_interval_ms", "energy_interval_ms", "processes_interval_ms")


def new_sampler(uuid: str = CARD_UUID, **intervals: float) -> _core.GpuSampler:
    quick = dict(zip(INTERVALS, (5.0, 100.0, 10.0, 10.0), strict=True))
    return _core.GpuSampler(uuid, **(quick | intervals))


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for another thread; the timeout of the test is the limit."""
    while not condition():
        time.sleep(0.001)


def tier(sampler: _core.GpuSampler, name: str) -> _core.SamplerTier:
    return next(tier for tier in sampler.tiers() if tier.name == name)


def read_all_tiers() -> None:
    NvmlControl().set("dram_activity", -1)  # one metric that this device lacks
    before = time.monotonic_ns()
    sampler = new_sampler()
    assert [tier.readings for tier in sampler.tiers()] == [0, 0, 0, 0]
    sampler.start()
    wait_until(lambda: len(sampler.gpm_readings()) >= 2 and len(sampler.energy_readings()) >= 3)
    wait_until(lambda: len(sampler.process_readings()) >= 2)
    sampler.stop(10.0)
    after = time.monotonic_ns()

    fast = sampler.fast_readings()
    expected = {
        "utilization_percent": 73,
        "memory_utilization_percent": 41,
        "power_mw": 350_000,
        "sm_clock_mhz": 1980,
        "memory_clock_mhz": 3201,
        "temperature_c": 55,
        "throttle_reasons": 4,
        "used_memory_bytes": 1 << 30,
    }
    assert fast.dtype.names == ("at_ns", *expected)
    assert fast[list(expected)][0].tolist() == tuple(expected.values())
    gpm = sampler.gpm_readings()
    assert gpm.dtype.names == ("at_ns", "interval_ns", "sm_activity", "tensor_activity", "dram_activity")
    assert gpm["sm_activity"] == pytest.approx(0.8)
    assert gpm["tensor_activity"] == pytest.approx(0.6)
    assert np.isnan(gpm["dram_activity"]).all()
    assert (gpm["interval_ns"] >= 100 * MS).all()
    energy = sampler.energy_readings()
    assert energy.dtype.names == ("at_ns", "energy_mj")
    assert set(np.diff(energy["energy_mj"])) == {500}
    processes = sampler.process_readings()
    assert processes.dtype.names == ("at_ns", "other_processes", "other_sm_percent")
    assert processes[["other_processes", "other_sm_percent"]].tolist()[1] == (0, 0)
    assert sampler.max_sm_clock_mhz == 1980
    for readings in (fast, gpm, energy, processes):
        assert before < readings["at_ns"][0]
        assert readings["at_ns"][-1] < after
        assert (np.diff(readings["at_ns"]) > 0).all()
    lengths = {"fast": len(fast), "gpm": len(gpm), "energy": len(energy), "processes": len(processes)}
    assert {tier.name: tier.readings for tier in sampler.tiers()} == lengths
    assert not any(tier.stalled or tier.errors or tier.unsupported for tier in sampler.tiers())
    assert tier(sampler, "gpm").interval_ms == 100.0


def lack_support() -> None:
    nvml = NvmlControl()
    nvml.set("gpm_supported", 0)
    for call in ("PowerUsage", "TotalEnergyConsumption", "MemoryInfo_v2"):
        nvml.fail(f"nvmlDeviceGet{call}", NOT_SUPPORTED)
    sampler = new_sampler()
    sampler.start()
    wait_until(lambda: all(tier(sampler, name).unsupported for name in ("gpm", "energy")))
    wait_until(lambda: len(sampler.fast_readings()) > 0)
    sampler.stop(10.0)
    reading = sampler.fast_readings()[0]
    assert reading["power_mw"] == _core.NOT_MEASURED
    assert reading["utilization_percent"] == 73
    assert reading["used_memory_bytes"] == (1 << 30) + (1 << 20)  # the older call, reserved memory included
    assert "Hopper" in tier(sampler, "gpm").unsupported
    assert len(sampler.gpm_readings()) == len(sampler.energy_readings()) == 0
    assert all(tier.errors == 0 and not tier.stalled for tier in sampler.tiers())


def sample_a_slice() -> None:
    nvml = NvmlControl()
    sampler = new_sampler(MIG_UUID)
    sampler.start()
    wait_until(lambda: len(sampler.gpm_readings()) > 0 and len(sampler.fast_readings()) > 0)
    sampler.stop(10.0)
    reading = sampler.fast_readings()[0]
    assert reading["utilization_percent"] == _core.NOT_MEASURED  # NVML does not report it for a slice
    assert reading["sm_clock_mhz"] == 1980  # of the whole GPU
    assert nvml.calls("nvmlGpmMigSampleGet") > 0


def stall_forever(call: str, stalled: str) -> None:
    nvml = NvmlControl()
    nvml.stall(call, FOREVER)
    sampler = new_sampler()
    sampler.start()
    wait_until(lambda: nvml.calls(call) > 0)
    seen = tier(sampler, "fast").readings
    wait_until(lambda: tier(sampler, "fast").readings >= seen + 20)  # the other tiers continue
    sampler.stop(0.05)
    assert tier(sampler, stalled).stalled
    assert tier(sampler, stalled).readings == 0
    assert not tier(sampler, "fast").stalled
    sampler.stop()
    again = new_sampler(energy_interval_ms=0, gpm_interval_ms=0)  # NVML itself can still be used
    again.start()
    wait_until(lambda: len(again.fast_readings()) > 0)
    again.stop(10.0)


def read_while_it_stops() -> None:
    """stop() lets other Python threads run while it waits."""
    nvml = NvmlControl()
    nvml.stall("nvmlDeviceGetTotalEnergyConsumption", FOREVER)
    sampler = new_sampler()
    sampler.start()
    wait_until(lambda: nvml.calls("nvmlDeviceGetTotalEnergyConsumption") > 0)
    stopping = threading.Thread(target=sampler.stop, args=(2.0,))
    ticks: list[float] = []
    ticking = threading.Event()

    def tick() -> None:
        while not ticking.wait(0.01):
            ticks.append(time.monotonic())

    ticker = threading.Thread(target=tick)
    ticker.start()
    stopping.start()
    time.sleep(0.1)  # the other thread waits in stop()
    assert tier(sampler, "energy").stalled
    ticking.set()
    stopping.join()
    ticker.join()
    assert max(np.diff(ticks)) < 1.0


def stall_for_a_while() -> None:
    nvml = NvmlControl()
    nvml.stall("nvmlDeviceGetTotalEnergyConsumption", 45 * MS)
    sampler = new_sampler()
    sampler.start()
    wait_until(lambda: len(sampler.energy_readings()) >= 3)
    sampler.stop(10.0)
    energy = tier(sampler, "energy")
    assert energy.missed_deadlines >= 4 * (energy.readings - 2)  # each query runs over four deadlines
    assert not energy.stalled
    assert tier(sampler, "fast").readings > energy.readings


def lose_the_gpu() -> None:
    nvml = NvmlControl()
    sampler = new_sampler()
    sampler.start()
    wait_until(lambda: all(tier(sampler, name).readings > 0 for name in ("fast", "gpm", "energy")))
    nvml.vanish()
    wait_until(lambda: all(tier(sampler, name).errors > 0 for name in ("fast", "gpm", "energy")))
    sampler.stop(10.0)
    assert all(reading["power_mw"] == 350_000 for reading in sampler.fast_readings()[:1])
    last = sampler.fast_readings()[-1]
    assert any(last[name] != _core.NOT_MEASURED for name in last.dtype.names[1:])  # no empty readings
    with pytest.raises(LibraryUnavailable, match="GPU is lost"):
        new_sampler()


def refuse_misuse() -> None:
    with pytest.raises(LibraryUnavailable, match=r"no device 'GPU-0'.*Not Found"):
        new_sampler("GPU-0")
    wrong: list[dict[str, Any]] = [
        {"fast_interval_ms": -1.0},
        {"gpm_interval_ms": 99.0},
        {"energy_interval_ms": math.inf},
        {"fast_interval_ms": 0.5},
    ]
    for intervals in wrong:
        with pytest.raises(ValueError, match=next(iter(intervals))):
            new_sampler(**intervals)
    sampler = new_sampler(**dict.fromkeys(INTERVALS, 0.0))
    sampler.start()
    assert sampler.tiers() == []
    with pytest.raises(ValueError, match="started"):
        sampler.start()
    sampler.stop()
    never_started = new_sampler()
    never_started.stop()
    never_started.stop()
    assert [tier.readings for tier in never_started.tiers()] == [0, 0, 0, 0]


def fork_while_sampling() -> None:
    nvml = NvmlControl()
    sampler, unstarted = new_sampler(), new_sampler()
    sampler.start()
    wait_until(lambda: tier(sampler, "fast").readings > 0)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with pytest.raises(VirnucError, match="parent"):
                unstarted.start()
            with pytest.raises(VirnucError, match="forked"):
                new_sampler()
            assert "forked" in _core.nvml_status().reason
            sampler.stop()
            del sampler, unstarted
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    seen = tier(sampler, "fast").readings
    wait_until(lambda: tier(sampler, "fast").readings > seen)
    sampler.stop(10.0)
    assert nvml.calls("nvmlInit_v2") > 0


def leave_it_to_the_interpreter() -> None:
    sampler = new_sampler()
    sampler.start()
    globals()["kept_to_the_end"] = sampler


SCENARIOS = [
    read_all_tiers,
    lack_support,
    sample_a_slice,
    stall_for_a_while,
    read_while_it_stops,
    lose_the_gpu,
    refuse_misuse,
    fork_while_sampling,
    leave_it_to_the_interpreter,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_sampler(standins: Standins, scenario: Any) -> None:
    standins.call(scenario)


@pytest.mark.parametrize(
    ("call", "stalled"),
    [("nvmlDeviceGetTotalEnergyConsumption", "energy"), ("nvmlGpmQueryDeviceSupport", "gpm")],
)
def test_a_query_that_never_returns_delays_no_other_tier(standins: Standins, call: str, stalled: str) -> None:
    standins.call(stall_forever, call, stalled)
