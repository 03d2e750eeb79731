# SPDX-License-Identifier: MIT
"""What earlier runs of this process have left behind and what of it is still there when the next one begins.

A run that shares the machine with a leftover measures something else than it says. Counts as such: a process that
lives, memory of the device, and shared memory. A file that stays open takes neither time nor memory that a run could
lack: clean-up names it, but nothing that comes after is worse for it.
"""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass
from typing import Any

import psutil

from virnuc_profiler.sweep.machine.descendants import ProcessLeft
from virnuc_profiler.sweep.machine.device_memory import DeviceMemory
from virnuc_profiler.sweep.machine.leak_limits import is_leak
from virnuc_profiler.sweep.machine.shared_memory import FOLDER
from virnuc_profiler.sweep.trial.cleanup import CleanupReport


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What one run left.

    Attributes:
        run_id: of the run.
        report: what its clean-up found.
        model: the model that it ran, if it still exists: memory that was held beside another one says nothing.
        segments: inode numbers of the segments by name, since names may be used again.
    """

    run_id: str
    report: CleanupReport
    model: weakref.ref[Any] | None
    segments: dict[str, int | None]


_left_behind: list[LeftBehind] = []
"""Of all runs of this process, since processes, memory and files are the process's own."""


def record_leaks(run_id: str, report: CleanupReport, model: Any) -> None:
    """Notes what a run left, if anything."""
    if not report.clean:
        segments = {name: _inode(name) for name in report.left.segments}
        _left_behind.append(LeftBehind(run_id, report, _reference(model), segments))


def pending_leaks(model: Any, memory: DeviceMemory) -> list[str]:
    """What earlier runs left and is still there, in words; forgets what is gone.

    Args:
        model: that is about to run.
        memory: of the device that it is on.
    """
    evidence = {id(left): _evidence(left, model, memory) for left in _left_behind}
    _left_behind[:] = [left for left in _left_behind if evidence[id(left)]]
    return list(dict.fromkeys(sentence for found in evidence.values() for sentence in found))


def _evidence(left: LeftBehind, model: Any, memory: DeviceMemory) -> list[str]:
    found = [f"{process}, left by {left.run_id}" for process in left.report.left.processes if _lives(process)]
    found += [
        f"shared memory segment {name}, left by {left.run_id}"
        for name, inode in left.segments.items()
        if inode is not None and _inode(name) == inode
    ]
    before, now = left.report.device_memory_before, memory.allocated_bytes()
    same_model = left.model is not None and left.model() is model
    if left.report.leaked and same_model and before is not None and now is not None and is_leak(now - before, before):
        found.append(f"{now - before:,} bytes of device memory more than before {left.run_id}")
    return found


def _lives(left: ProcessLeft) -> bool:
    try:
        process = psutil.Process(left.pid)
        return process.create_time() == left.started_at and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _inode(segment: str) -> int | None:
    try:
        return os.stat(FOLDER / segment).st_ino  # noqa: PTH116
    except OSError:
        return None


def _reference(model: Any) -> weakref.ref[Any] | None:
    try:
        return weakref.ref(model)
    except TypeError:
        return None
