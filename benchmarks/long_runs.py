# SPDX-License-Identifier: MIT
"""Long runs made by arithmetic, for scripts that measure what reads them: a loop with batches in flight on a GPU.

The times resemble those of an 8M model on an H200: stages of 10 to 500 µs with a few percent of jitter, a refill of the
loader's buffer every 100 batches, and now and then a slow batch. They are as random as real ones, so that they do not
compress better.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.telemetry.batch_table import BATCH_FIELDS, HAS_PACKING, STAGE_FIELDS, BatchTable
from virnuc_profiler.telemetry.records import STAGES, DeviceCapture, GpmReading, GpuReading, GpuSamples
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED

_USED: Final = ("fetch", "collate", "h2d", "forward", "d2h", "emit")
_HOST_NS: Final = {"fetch": 70e3, "collate": 60e3, "h2d": 12e3, "forward": 28e3, "d2h": 10e3, "emit": 37e3}
_DEVICE_NS: Final = {"h2d": 10e3, "forward": 411e3, "d2h": 3.2e3}
_SAMPLING_NS: Final = 100_000_000

Times = NDArray[np.int64]


def long_run(batches: int, *, seed: int = 0, slow_batch: int | None = None, slow_ns: int = 50_000_000) -> RunResult:
    """Return a run of many batches.

    Args:
        batches: Number of batches, at least one.
        seed: Seed of the jitter.
        slow_batch: Number of a batch whose forward pass takes longer on the device; None for none.
        slow_ns: How much longer that forward pass takes.
    """
    random = np.random.default_rng(seed)
    host = {name: _jittered(random, mean_ns, batches) for name, mean_ns in _HOST_NS.items()}
    device = {name: _jittered(random, mean_ns, batches) for name, mean_ns in _DEVICE_NS.items()}
    host["fetch"][::100] += 2_000_000
    if slow_batch is not None:
        device["forward"][slow_batch] += slow_ns
    launch_ns = host["fetch"] + host["h2d"] + host["forward"] + host["d2h"]
    pace_ns = np.maximum(launch_ns + host["emit"], device["forward"] + 12_000)  # the slower of host and device sets it
    first_ns = 1_000_000_000
    starts = first_ns + np.cumsum(pace_ns) - pace_ns
    numbers = {name: STAGES.index(name) for name in _USED}
    stages = np.full((batches, len(_USED)), 0, [(field, np.int64) for field in STAGE_FIELDS])
    at = starts
    for place, name in enumerate(_USED[:-1]):
        inside = name == "collate"  # the loop waits for it
        begin = (stages["host_start_ns"][:, 0] if inside else at) + _jittered(random, 1.5e3, batches)
        spent = np.minimum(host[name], host["fetch"] - 5_000) if inside else host[name]
        stages["stage"][:, place] = numbers[name]
        stages["host_start_ns"][:, place] = begin
        stages["host_end_ns"][:, place] = begin + spent
        at = at if inside else begin + spent
    stages["device_start_ns"] = stages["device_end_ns"] = NOT_MEASURED
    seam = _jittered(random, 2e3, batches)
    work_ns = device["forward"] + device["d2h"] + seam + _jittered(random, 2e3, batches)
    done = _ends_in_turn(stages["host_start_ns"][:, 3] + 6_000, work_ns)
    for place, begin, name in (
        (2, stages["host_start_ns"][:, 2] + _jittered(random, 4e3, batches), "h2d"),
        (3, done - work_ns, "forward"),
        (4, done - work_ns + device["forward"] + seam, "d2h"),
    ):
        stages["device_start_ns"][:, place] = begin
        stages["device_end_ns"][:, place] = begin + device[name]
    stages["timestamped"][:, 3] = 1
    emitted = np.maximum(at, done + _jittered(random, 20e3, batches))
    stages["stage"][:, 5] = numbers["emit"]
    stages["host_start_ns"][:, 5] = emitted
    stages["host_end_ns"][:, 5] = emitted + host["emit"]
    end_ns = int(stages["host_end_ns"].max()) + 1_000_000
    table = _batch_rows(random, starts, stages["host_end_ns"][:, 5], len(_USED))
    return RunResult(
        run_id=f"made_of_{batches}_batches",
        started_at="2026-01-01T00:00:00+00:00",
        host_start_ns=first_ns - 60_000_000,
        host_end_ns=end_ns,
        stage_names=STAGES,
        batches=BatchTable(STAGES, table, stages.reshape(-1)),
        device=DeviceCapture("made-up GPU", uuid="GPU-0", timed=True, alignment_uncertainty_ns=3_000),
        gpu=_samples(random, first_ns - 60_000_000, end_ns),
    )


def _ends_in_turn(ready_ns: Times, work_ns: Times) -> Times:
    """Return when a device that does one thing at a time ends each piece of work."""
    done = np.cumsum(work_ns)
    ends: Times = done + np.maximum.accumulate(ready_ns - (done - work_ns))
    return ends


def _jittered(random: np.random.Generator, mean_ns: float, count: int) -> Times:
    times: Times = (mean_ns * random.lognormal(0.0, 0.12, count)).astype(np.int64)
    return times


def _batch_rows(random: np.random.Generator, starts: Times, ends: Times, stages: int) -> NDArray[np.void]:
    count = len(starts)
    rows = np.zeros(count, [(field, np.int64) for field in BATCH_FIELDS])
    rows["index"] = np.arange(count)
    rows["host_start_ns"], rows["host_end_ns"] = starts, ends
    rows["stage_begin"] = np.arange(count) * stages
    rows["stage_end"] = rows["stage_begin"] + stages
    rows["sequences"] = random.integers(6, 40, count)
    rows["tokens"] = 4_096 - random.integers(0, 12, count)
    rows["min_length"] = random.integers(30, 120, count)
    rows["max_length"] = random.integers(300, 1_000, count)
    rows["sum_squared_lengths"] = rows["tokens"] ** 2 // rows["sequences"]
    rows["token_budget"] = 4_096
    rows["flags"] = HAS_PACKING
    return rows


def _samples(random: np.random.Generator, start_ns: int, end_ns: int) -> GpuSamples:
    times = range(start_ns + _SAMPLING_NS, end_ns, _SAMPLING_NS)
    power = (500_000 + 50_000 * random.standard_normal(len(times))).astype(int).tolist()
    clock = random.integers(100, 132, len(times)).tolist()
    fast = [
        GpuReading(at, 97, 20, mw, 15 * mhz, 3_201, 55, 4 if mhz < 110 else 0, 2_500_000_000)
        for at, mw, mhz in zip(times, power, clock, strict=True)
    ]
    activity = random.uniform(0.3, 0.9, (len(times) // 3 + 1, 3)).tolist()
    gpm = [GpmReading(at, 3 * _SAMPLING_NS, *three) for at, three in zip(times[2::3], activity, strict=False)]
    return GpuSamples("GPU-0", fast=tuple(fast), gpm=tuple(gpm), max_sm_clock_mhz=1_980)
