# SPDX-License-Identifier: MIT
"""Record what runs of this process have leaked, and find the leaks that still exist when the next run begins.

A run that shares the machine with a leak of an earlier run is contaminated: its figures are not those of its
configuration. Live processes, device memory and shared memory contaminate. An open file does not, since it uses neither
time nor memory that a run needs; clean-up only reports it.
"""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass
from typing import Any

import psutil

from virnuc_profiler.sweep.machine.descendants import LeakedProcess
from virnuc_profiler.sweep.machine.device_memory import DeviceMemory
from virnuc_profiler.sweep.machine.process_resources import is_leak
from virnuc_profiler.sweep.machine.shared_memory import FOLDER
from virnuc_profiler.sweep.trial.cleanup import CleanupReport


@dataclass(frozen=True, slots=True)
class RunLeaks:
    """Leaks of one run.

    Attributes:
        run_id: Name of the run.
        report: Report of the run's clean-up.
        model: Reference to the model of the run. Device memory is comparable only while the same model is loaded.
        segments: Inode number of each leaked segment, by name, to recognize a name that was reused.
    """

    run_id: str
    report: CleanupReport
    model: weakref.ref[Any] | None
    segments: dict[str, int | None]


_recorded_leaks: list[RunLeaks] = []
"""Leaks of all runs of this process. A global, as processes, memory and files belong to the whole process."""


def record_leaks(run_id: str, report: CleanupReport, model: Any) -> None:
    """Record the leaks of a run, if it has any.

    Args:
        run_id: Name of the run.
        report: Report of the run's clean-up.
        model: Model of the run; only a weak reference is kept.
    """
    if report.clean is False:
        segments = {name: _inode(name) for name in report.left.segments}
        _recorded_leaks.append(RunLeaks(run_id, report, _reference(model), segments))


def pending_leaks(model: Any, memory: DeviceMemory) -> list[str]:
    """Describe the leaks of earlier runs that still exist, one sentence each, and forget those that are gone.

    Args:
        model: Model of the run that is about to begin.
        memory: Memory of the model's device.
    """
    pending: list[RunLeaks] = []
    sentences: list[str] = []
    for leaks in _recorded_leaks:
        if found := _evidence(leaks, model, memory):
            pending.append(leaks)
            sentences += found
    _recorded_leaks[:] = pending
    return list(dict.fromkeys(sentences))


def _evidence(leaks: RunLeaks, model: Any, memory: DeviceMemory) -> list[str]:
    found = [f"{process}, left by {leaks.run_id}" for process in leaks.report.left.processes if _is_alive(process)]
    found += [
        f"shared memory segment {name}, left by {leaks.run_id}"
        for name, inode in leaks.segments.items()
        if inode is not None and _inode(name) == inode
    ]
    before, now = leaks.report.device_memory_before, memory.allocated_bytes()
    same_model = leaks.model is not None and leaks.model() is model
    if leaks.report.leaked and same_model and before is not None and now is not None and is_leak(now - before, before):
        found.append(f"{now - before:,} more bytes of device memory than before {leaks.run_id}")
    return found


def _is_alive(leaked: LeakedProcess) -> bool:
    try:
        process = psutil.Process(leaked.pid)
        return process.create_time() == leaked.started_at and process.status() != psutil.STATUS_ZOMBIE
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
