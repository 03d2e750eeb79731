# SPDX-License-Identifier: MIT
"""Time and memory of reading, reporting and exporting a saved run of many batches.

The run has overlapping batches, stages on host and device, and readings every 100 ms; its times follow a seeded
generator. Each step is measured in the same process, as ``virnuc-profiler`` runs it.

Run: ``python -m benchmarks.export_scale --batches 1000000``
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from virnuc_profiler.reports.export.exported_files import write_csv_tables, write_parquet_tables, write_trace
from virnuc_profiler.reports.run_report import render_run
from virnuc_profiler.telemetry.batch_table import (
    BATCH_FIELDS,
    HAS_PACKING,
    NOT_MEASURED,
    STAGE_FIELDS,
    BatchTable,
)
from virnuc_profiler.telemetry.records import DEVICE_STAGES, STAGES, DeviceCapture, GpuReading, GpuSamples
from virnuc_profiler.telemetry.run_result import RunResult

_BOOTED_NS = 10**14
_US = 1000


def long_run(batches: int, seed: int = 0) -> RunResult:
    """Return a run whose host is always some batches ahead of the device.

    Args:
        batches: Number of batches.
        seed: Seed of the times.
    """
    random = np.random.default_rng(seed)
    count = len(STAGES)
    spent = random.integers(5 * _US, 60 * _US, (batches, count))
    host_end = _BOOTED_NS + np.cumsum(spent.reshape(-1)).reshape(batches, count)
    host_start = host_end - spent
    device_ns = random.integers(20 * _US, 90 * _US, (batches, count))
    on_device = np.isin(STAGES, DEVICE_STAGES)
    queued = np.where(on_device, device_ns, 0).reshape(-1)
    device_end = np.maximum.accumulate(host_end.reshape(-1) - np.cumsum(queued) + queued) + np.cumsum(queued)
    device_end = np.where(on_device, device_end.reshape(batches, count), NOT_MEASURED)

    stages = np.empty((batches, count), [(field, np.int64) for field in STAGE_FIELDS])
    stages["stage"] = np.arange(count)
    stages["host_start_ns"], stages["host_end_ns"] = host_start, host_end
    stages["device_start_ns"] = np.where(on_device, device_end - device_ns, NOT_MEASURED)
    stages["device_end_ns"], stages["timestamped"] = device_end, 0

    table = np.empty(batches, [(field, np.int64) for field in BATCH_FIELDS])
    table["index"] = np.arange(batches)
    table["host_start_ns"] = host_start[:, 0]
    table["host_end_ns"] = np.maximum(host_end[:, -1], device_end[:, STAGES.index("d2h")])
    table["stage_begin"], table["stage_end"] = np.arange(batches) * count, np.arange(1, batches + 1) * count
    table["sequences"] = random.integers(4, 30, batches)
    table["tokens"] = random.integers(3900, 4097, batches)
    table["min_length"], table["max_length"] = 50, random.integers(300, 1024, batches)
    table["sum_squared_lengths"] = table["tokens"] * 300
    table["token_budget"], table["flags"] = 4096, HAS_PACKING
    end_ns = int(table["host_end_ns"].max())
    readings = tuple(
        GpuReading(at_ns, int(load), 20, int(power), 1980, 3201, 60, 0, 2 << 30)
        for at_ns, load, power in zip(
            range(_BOOTED_NS, end_ns, 100_000_000),
            random.integers(80, 101, (end_ns - _BOOTED_NS) // 100_000_000 + 1),
            random.integers(300_000, 700_000, (end_ns - _BOOTED_NS) // 100_000_000 + 1),
            strict=False,
        )
    )
    return RunResult(
        run_id="a_long_run",
        started_at="2026-01-01T00:00:00.000+00:00",
        host_start_ns=_BOOTED_NS,
        host_end_ns=end_ns,
        stage_names=STAGES,
        batches=BatchTable(STAGES, table, stages.reshape(-1)),
        device=DeviceCapture("made up", "GPU-0", True, alignment_uncertainty_ns=3000),
        gpu=GpuSamples("GPU-0", fast=readings),
    )


def peak_mb() -> float:
    """Return the largest memory of this process since :func:`reset_peak`, MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def reset_peak() -> None:
    """Let the kernel measure the peak of the memory again."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def measured(what: str, work: Callable[[], object]) -> object:
    """Do something and print its time and the peak of the memory.

    Args:
        what: Name of the work.
        work: The work.
    """
    reset_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    print(
        f"{what:12} {time.perf_counter() - wall:8.1f} s  {time.process_time() - cpu:8.1f} s CPU  {peak_mb():8.0f} MB",
        flush=True,
    )
    return found


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None, help="folder for the files; by default a temporary one")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{platform.processor() or platform.machine()}, {cores} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        if (child := os.fork()) == 0:  # so that making the run leaves nothing in the memory that is measured
            measured("make, save", lambda: long_run(arguments.batches).save(folder / "run.json"))
            os._exit(0)
        os.waitpid(child, 0)
        start, cpu = time.perf_counter(), time.process_time()
        run = measured("load", lambda: RunResult.load(folder / "run.json"))
        assert isinstance(run, RunResult)
        measured("report", lambda: render_run(run))
        measured("trace", lambda: write_trace(folder / "run.pftrace", [run]))
        print(f"together     {time.perf_counter() - start:8.1f} s  {time.process_time() - cpu:8.1f} s CPU")
        measured("Parquet", lambda: list(write_parquet_tables(folder, [run])))
        measured("CSV", lambda: list(write_csv_tables(folder, [run])))
        for file in sorted(folder.iterdir()):
            print(f"{file.name:18} {file.stat().st_size / 1e6:8.0f} MB")


if __name__ == "__main__":
    main()
