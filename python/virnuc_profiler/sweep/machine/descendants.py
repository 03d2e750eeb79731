# SPDX-License-Identifier: MIT
"""The processes that this one has started, whoever started them in its name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import active_children, forkserver, resource_tracker
from typing import Any, Final

import psutil

from virnuc_profiler.inference.loading.owner_tag import owned_processes

_LASTING: Final = ("torch/_inductor/compile_worker", "torch._inductor.compile_worker")
"""In the command lines of helpers that PyTorch keeps for as long as a process lives."""
_MAX_COMMAND: Final = 200
"""Characters of a command line that are kept."""


@dataclass(frozen=True, slots=True)
class ProcessLeft:
    """A process that should be gone.

    Attributes:
        pid: its id.
        name: of its program.
        command: its command line, shortened.
        state: ``running``, ``sleeping``, ...; ``zombie`` if it is dead and nobody has asked for its exit code.
        started_at: seconds since 1970; with the id it is unique, as ids are used again.
    """

    pid: int
    name: str
    command: str
    state: str
    started_at: float

    @property
    def lives(self) -> bool:
        """Whether it can take time and memory."""
        return self.state != psutil.STATUS_ZOMBIE

    def __str__(self) -> str:
        return f"process {self.pid} ({self.state}): {self.command or self.name}"


def child_processes() -> set[int]:
    """Process ids of the living processes that were started through ``multiprocessing``, by whatever method."""
    return {process.pid for process in active_children() if process.pid is not None}


def descendants() -> frozenset[psutil.Process]:
    """All processes below this one, and orphans of its workers, zombies too.

    Without those that last by design: the forkserver, multiprocessing's resource tracker, PyTorch's compilers. The
    objects know when their process started, so that another one with the same id is not taken for it.
    """
    active_children()  # takes the exit codes of those that have ended, for the objects that stand for them
    found: set[psutil.Process] = set(psutil.Process().children(recursive=True)) | owned_processes()
    return frozenset(process for process in found if process.pid not in _lasting_pids() and not _lasts(process))


def describe_processes(processes: Iterable[psutil.Process]) -> tuple[ProcessLeft, ...]:
    """Those that are still there, zombies too, in the order of their ids."""
    return tuple(left for process in sorted(processes, key=lambda one: one.pid) if (left := _describe(process)))


def _describe(process: psutil.Process) -> ProcessLeft | None:
    try:
        if not process.is_running():
            return None
        with process.oneshot():
            command = " ".join(process.cmdline())[:_MAX_COMMAND]
            return ProcessLeft(process.pid, process.name(), command, process.status(), process.create_time())
    except psutil.ZombieProcess:
        return ProcessLeft(process.pid, "", "", psutil.STATUS_ZOMBIE, process.create_time())
    except psutil.Error:
        return None


def _lasts(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        command = " ".join(process.cmdline())
        return any(helper in command for helper in _LASTING)
    return False


def _lasting_pids() -> set[Any]:
    servers = (getattr(forkserver, "_forkserver", None), getattr(resource_tracker, "_resource_tracker", None))
    own = {getattr(server, name, None) for server in servers for name in ("_forkserver_pid", "_pid")}
    return own | {os.getpid()}
