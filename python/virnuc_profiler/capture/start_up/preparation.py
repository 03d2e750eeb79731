# SPDX-License-Identifier: MIT
"""Note work that prepares a run, wherever it is done, and find out when the process was started.

Notes are kept for the whole process, since such work is done by parts that know of no profiler, and often before there
is one. A run takes those that concern it when it ends.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from virnuc_profiler.telemetry.parts.start_up_records import StartUpPart, StartUpRecord

_MAX_PARTS: Final = 256
_MIN_PART_NS: Final = 1_000_000
"""Shorter work is not kept: it explains nothing, and starting a plain iterable is work of a microsecond."""
_START_TIME_FIELD: Final = 19
"""Position of the start time among the fields of ``/proc/self/stat`` after the process's name."""

_parts: deque[StartUpPart] = deque(maxlen=_MAX_PARTS)


class _Process:
    """What this process has done so far. A forked child begins with nothing.

    Attributes:
        preparing: Number of preparations that are going on.
        has_run: Whether a run has begun that was no preparation.
        start_ns: Start of the process on the monotonic clock; None where the system does not tell it. It is taken
            early, because the monotonic clock stands still while the machine sleeps, and the process's age does not.
    """

    preparing = 0
    has_run = False
    start_ns: int | None = None


@contextmanager
def preparing(name: str) -> Iterator[None]:
    """Note that the body of the ``with`` statement prepares a run, unless it takes less than a millisecond.

    Args:
        name: Name of the work, such as one of those in ``telemetry.parts.start_up_records``.
    """
    start_ns = time.monotonic_ns()
    _Process.preparing += 1
    try:
        yield
    finally:
        _Process.preparing = max(0, _Process.preparing - 1)  # a child that was forked inside has begun at 0
        end_ns = time.monotonic_ns()
        if end_ns - start_ns >= _MIN_PART_NS:
            _parts.append(StartUpPart(name, start_ns, end_ns))


def begin_run() -> bool:
    """Return whether the run that begins now is the first of its process, apart from those inside :func:`preparing`."""
    if _Process.preparing or _Process.has_run:
        return False
    _Process.has_run = True
    return True


def latest_preparation_ns(name: str) -> int:
    """Return when the latest noted work of a name ended, on the monotonic clock; 0 if there was none.

    Args:
        name: Name of the work.
    """
    return max((part.end_ns for part in tuple(_parts) if part.name == name), default=0)


def start_up_record(*, first_run: bool, run_start_ns: int, run_end_ns: int) -> StartUpRecord:
    """Return what was noted for a run.

    Args:
        first_run: Whether the run is the first of its process; the notes before it are then its own too.
        run_start_ns: Start of the run on the monotonic clock.
        run_end_ns: End of the run on the monotonic clock.
    """
    parts = (part for part in tuple(_parts) if part.start_ns < run_end_ns)
    return StartUpRecord(
        process_start_ns=process_start_ns(),
        first_run=first_run,
        parts=tuple(part for part in parts if first_run or part.end_ns > run_start_ns),
    )


def process_start_ns() -> int | None:
    """Return the start of this process on the monotonic clock, to 10 ms; None where the system does not tell it."""
    return _Process.start_ns


def _read_process_start_ns() -> int | None:
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        ticks = int(fields[_START_TIME_FIELD])
        age_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    return time.monotonic_ns() - max(0, age_ns)


def _begin_process() -> None:
    _parts.clear()
    _Process.preparing, _Process.has_run, _Process.start_ns = 0, False, _read_process_start_ns()


_begin_process()
os.register_at_fork(after_in_child=_begin_process)
