# SPDX-License-Identifier: MIT
"""List the descendants of this process, including orphans of its workers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import active_children, forkserver, resource_tracker
from typing import Any, Final

import psutil

from virnuc_profiler.inference.loading.owner_tag import owned_processes

_PERSISTENT_HELPERS: Final = ("torch/_inductor/compile_worker", "torch._inductor.compile_worker")
"""Parts of the command lines of helper processes that PyTorch keeps running until this process ends."""
_MAX_COMMAND: Final = 200
"""Characters of a command line to keep."""


@dataclass(frozen=True, slots=True)
class LeakedProcess:
    """A process that should have ended.

    Attributes:
        pid: Process id.
        name: Name of the program.
        command: Command line, truncated.
        state: State as psutil names it, such as ``running`` or ``sleeping``; ``zombie`` if the process has ended but
            its parent has not reaped it.
        started_at: Start time in seconds since 1970. The system reuses process ids; id and start time are unique.
    """

    pid: int
    name: str
    command: str
    state: str
    started_at: float

    @property
    def is_alive(self) -> bool:
        """Whether the process can use CPU time and memory, which a zombie cannot."""
        return self.state != psutil.STATUS_ZOMBIE

    def __str__(self) -> str:
        return f"process {self.pid} ({self.state}): {self.command or self.name}"


def child_processes() -> set[int]:
    """Return the ids of the live processes that were started through ``multiprocessing``, with any start method."""
    return {process.pid for process in active_children() if process.pid is not None}


def descendants() -> frozenset[psutil.Process]:
    """Return all descendants of this process and orphans of its workers, including zombies.

    Processes that persist by design are left out: the forkserver, multiprocessing's resource tracker, and PyTorch's
    compile workers. Each returned object knows the start time, so a reused process id is not mistaken for it.
    """
    active_children()  # lets multiprocessing reap its ended children, so that their exit codes are not lost
    found: set[psutil.Process] = set(psutil.Process().children(recursive=True)) | owned_processes()
    return frozenset(
        process for process in found if process.pid not in _persistent_pids() and not _is_persistent(process)
    )


def describe_processes(processes: Iterable[psutil.Process]) -> tuple[LeakedProcess, ...]:
    """Describe the processes that still exist, including zombies, in order of their ids."""
    return tuple(left for process in sorted(processes, key=lambda one: one.pid) if (left := _describe(process)))


def _describe(process: psutil.Process) -> LeakedProcess | None:
    try:
        if not process.is_running():
            return None
        with process.oneshot():
            command = " ".join(process.cmdline())[:_MAX_COMMAND]
            return LeakedProcess(process.pid, process.name(), command, process.status(), process.create_time())
    except psutil.ZombieProcess:
        return LeakedProcess(process.pid, "", "", psutil.STATUS_ZOMBIE, process.create_time())
    except psutil.Error:
        return None


def _is_persistent(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        command = " ".join(process.cmdline())
        return any(helper in command for helper in _PERSISTENT_HELPERS)
    return False


def _persistent_pids() -> set[Any]:
    servers = (getattr(forkserver, "_forkserver", None), getattr(resource_tracker, "_resource_tracker", None))
    own = {getattr(server, name, None) for server in servers for name in ("_forkserver_pid", "_pid")}
    return own | {os.getpid()}
