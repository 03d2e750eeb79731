# SPDX-License-Identifier: MIT
"""Time limits that do not count the time in which processes were stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

POLL_S: Final = 1.0
"""Longest time between two looks at a :class:`RunningClock` while something is waited for."""

_MAX_LATE_S: Final = 1.0
"""A look that comes later than this was held up: this process was stopped, or had no core for so long."""

PROC: Final = Path("/proc")


class RunningClock:
    """A monotonic clock that stands still while this process, or one that it waits for, is stopped.

    It notices what happens between two looks, so a waiting loop must look every :data:`POLL_S`. On a machine so busy
    that looks come late it stands still too, which only makes a limit more patient.

    Args:
        stopped: Returns the process ids that are stopped now, among those that are waited for.
        clock: Monotonic clock, in seconds.
    """

    def __init__(self, stopped: Callable[[], Iterable[int]], clock: Callable[[], float] = time.monotonic) -> None:
        self._stopped = stopped
        self._clock = clock
        self._last = clock()
        self._lost_s = 0.0
        self.stopped_pids: frozenset[int] = frozenset()

    def __call__(self) -> float:
        """Return the seconds that count, on the axis of the monotonic clock."""
        now = self._clock()
        since_last = now - self._last
        if since_last >= POLL_S / 2:  # more looks would cost more than they tell
            self.stopped_pids = frozenset(self._stopped())
            if self.stopped_pids:
                self._lost_s += since_last
            else:
                self._lost_s += since_last - POLL_S if since_last > POLL_S + _MAX_LATE_S else 0.0
            self._last = now
        return now - self._lost_s


def stopped_among(pids: Iterable[int], proc: Path = PROC) -> list[int]:
    """Return those processes that a signal or a debugger has stopped.

    Args:
        pids: Process ids.
        proc: Mount point of procfs.
    """
    return [pid for pid in pids if _is_stopped(pid, proc)]


def stopped_in_tree(root: int, proc: Path = PROC) -> list[int]:
    """Return those of a process and its descendants that a signal or a debugger has stopped.

    Args:
        root: Process id at the root of the tree.
        proc: Mount point of procfs.
    """
    tree: dict[int, None] = {}
    pending = [root]
    while pending:
        pid = pending.pop()
        if pid not in tree:
            tree[pid] = None
            pending += _children(pid, proc)
    return stopped_among(tree, proc)


def _is_stopped(pid: int, proc: Path) -> bool:
    with suppress(OSError):  # it has ended
        # The state is the first field after the name, which may contain spaces and parentheses.
        return (proc / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[:1] in ([b"T"], [b"t"])
    return False


def _children(pid: int, proc: Path) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(proc / str(pid) / "task"):  # noqa: PTH208  names are enough
            with suppress(OSError, ValueError):
                found += map(int, (proc / str(pid) / "task" / thread / "children").read_text().split())
    return found
