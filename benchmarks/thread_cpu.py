# SPDX-License-Identifier: MIT
"""Read the CPU time of threads that other code has started, as Linux counts it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_TASKS = Path("/proc/self/task")


def thread_ids() -> set[int]:
    """Return the ids of all threads of this process."""
    return {int(task.name) for task in _TASKS.iterdir()}


def cpu_seconds(threads: Iterable[int]) -> float:
    """Return the CPU time of threads so far. Ended threads count as nothing, so call this before they end."""
    return sum(_cpu_seconds(thread) for thread in threads)


def _cpu_seconds(thread: int) -> float:
    try:  # in ns, where the kernel keeps it
        return int((_TASKS / str(thread) / "schedstat").read_text().split()[0]) / 1e9
    except (OSError, IndexError):
        pass
    try:  # in ticks of 10 ms: utime and stime, the 14th and 15th field; the name before them may hold spaces
        fields = (_TASKS / str(thread) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
