# SPDX-License-Identifier: MIT
"""Time and peak memory of `correlate` on a large export of Nsight Systems, beside the size of the file.

The script writes an export by hand: ranges of 40 operators whose names all differ, as the numbers of PyTorch's
`emit_nvtx` make them, one inside the other in pairs, and a launching call with a kernel in every n-th of them, on two
devices in turns. It runs the command in a process of its own, for the table alone and with each kind of file, and
prints the time, the peak memory, and its ratio to the file. It uses only the command line, so it can compare two
versions: set PYTHONPATH to the one to measure.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

THREAD = (7 << 24) + 1
PUSH_POP = 59
FILES = {"json": "out.json", "html": "out.html", "trace": "out.pftrace"}

TABLES = """
CREATE TABLE StringIds (id INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE NVTX_EVENTS (start INTEGER NOT NULL, end INTEGER, eventType INTEGER NOT NULL, rangeId INTEGER,
  category INTEGER, color INTEGER, text TEXT, globalTid INTEGER, endGlobalTid INTEGER, textId INTEGER,
  domainId INTEGER, uint64Value INTEGER, int64Value INTEGER, doubleValue REAL, uint32Value INTEGER,
  int32Value INTEGER, floatValue REAL, jsonTextId INTEGER, jsonText TEXT, binaryData TEXT);
CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER NOT NULL, end INTEGER NOT NULL, eventClass INTEGER NOT NULL,
  globalTid INTEGER, correlationId INTEGER, nameId INTEGER NOT NULL, returnValue INTEGER NOT NULL,
  callchainId INTEGER);
CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER NOT NULL, end INTEGER NOT NULL, deviceId INTEGER NOT NULL,
  contextId INTEGER, greenContextId INTEGER, streamId INTEGER NOT NULL, correlationId INTEGER, globalPid INTEGER,
  demangledName INTEGER NOT NULL, shortName INTEGER NOT NULL, mangledName INTEGER, launchType INTEGER,
  cacheConfig INTEGER, registersPerThread INTEGER NOT NULL, gridX INTEGER NOT NULL, gridY INTEGER NOT NULL,
  gridZ INTEGER NOT NULL, blockX INTEGER NOT NULL, blockY INTEGER NOT NULL, blockZ INTEGER NOT NULL,
  staticSharedMemory INTEGER NOT NULL, dynamicSharedMemory INTEGER NOT NULL, graphNodeId INTEGER);
"""


def write_export(path: Path, ranges: int, every: int, *, registered: bool) -> None:
    """Write an export.

    Args:
        path: File to write; it must not exist.
        ranges: Number of ranges, each with a name of its own.
        every: A kernel is launched in every n-th range; 0 for none.
        registered: Whether names are in the table of strings instead of the rows of the ranges.
    """
    database = sqlite3.connect(path)
    database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + TABLES)
    strings = [(0, ""), (1, "void gemm_kernel<float, 128>(float const*, float*)")]
    database.executemany("INSERT INTO StringIds VALUES (?, ?)", strings)
    if registered:
        rows: Iterator[tuple[object, ...]] = ((2 + number, _name(number)) for number in range(ranges))
        database.executemany("INSERT INTO StringIds VALUES (?, ?)", rows)
    rows = (
        (*_times(number), PUSH_POP, *((None, 2 + number) if registered else (_name(number), None)), THREAD, 0)
        for number in range(ranges)
    )
    database.executemany(
        "INSERT INTO NVTX_EVENTS (start, end, eventType, text, textId, globalTid, domainId)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    launches = range(0, ranges, every) if every else range(0)
    rows = ((number * 2000 + 700, number * 2000 + 900, 0, THREAD, number + 1, 1, 0, None) for number in launches)
    database.executemany(f"INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES ({', '.join('?' * 8)})", rows)
    facts = (1, 1, 1, 1, 0, 64, 128, 8, 1, 256, 1, 1, 0, 49152, None)
    rows = (
        (
            number * 2000 + 1200,
            number * 2000 + 2100,
            number // every % 2,
            1,
            None,
            7,
            number + 1,
            THREAD >> 24 << 24,
            *facts,
        )
        for number in launches
    )
    database.executemany(f"INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES ({', '.join('?' * 23)})", rows)
    database.commit()
    database.close()


def _name(number: int) -> str:
    return f"aten::scaled_dot_product_attention_{number % 40}, seq = {number}, op_id = {3 * number}"


def _times(number: int) -> tuple[int, int]:
    """Return start and end of a range; every second range lies inside the one before it."""
    outer = number // 2 * 4000
    return (outer + 2100, outer + 3900) if number % 2 else (outer, outer + 3990)


def measure(*options: str) -> tuple[float, float, int]:
    """Run the command, and return its seconds, its CPU seconds, and the most memory that it used in bytes."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "virnuc_profiler", "correlate", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main() -> int:
    """Write the export, run the command, and print one line for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranges", type=int, default=1_000_000, help="number of ranges (default: 1,000,000)")
    parser.add_argument("--every", type=int, default=10, help="a kernel in every n-th range, 0: none (default: 10)")
    parser.add_argument("--registered", action="store_true", help="names are in the table of strings")
    parser.add_argument("--no-files", action="store_true", help="measure the table alone")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        export = Path(folder, "capture.sqlite")
        write_export(export, arguments.ranges, arguments.every, registered=arguments.registered)
        size = export.stat().st_size
        print(f"{arguments.ranges:,} ranges in a file of {size / 1e6:,.0f} MB")
        files = {"table": (), "ungrouped table": ("--no-group",)}
        if not arguments.no_files:
            files |= {kind: (f"--{kind}", str(Path(folder, name))) for kind, name in FILES.items()}
        for what, options in files.items():
            seconds, cpu_s, peak = measure(str(export), *options)
            memory = f"{peak / 1e6:,.0f} MB at most, {peak / size:.1f} times the file"
            print(f"{what:15}: {seconds:6.1f} s ({cpu_s:.1f} s of CPU), {memory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
