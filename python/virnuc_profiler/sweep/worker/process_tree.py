# SPDX-License-Identifier: MIT
"""Control and list process trees on Linux: parent-death signals, subreapers, sessions, groups.

``prctl`` and ``/proc`` are Linux interfaces; where they are missing, the functions do nothing or return nothing.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

_SET_DEATH_SIGNAL: Final = 1
_SET_SUBREAPER: Final = 36
_GET_SUBREAPER: Final = 37


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies, and kill it now if the parent is already dead.

    The kernel watches the thread that started this process, so that thread must live as long as this process.

    Args:
        parent_pid: Process id of the parent.
    """
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def is_subreaper() -> bool:
    """Whether this process is a child subreaper: orphaned descendants become its children, which it can reap."""
    answer = ctypes.c_int(0)
    _prctl(_GET_SUBREAPER, ctypes.addressof(answer))
    return bool(answer.value)


def set_subreaper(enabled: bool) -> None:
    """Make this process a child subreaper, or stop being one."""
    _prctl(_SET_SUBREAPER, int(enabled))


def live_pids_in_session(session: int) -> list[int]:
    """Return the process ids in a session, without zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):  # the process has ended meanwhile
                # The fields after the name, which may contain spaces and parentheses: state, parent, group, session.
                state, _, _, its_session = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:4]
                if int(its_session) == session and state not in (b"Z", b"X"):
                    found.append(int(entry.name))
    return found


def live_pids_with_environment(entry: str) -> list[int]:
    """Return the ids of live processes whose initial environment has an entry.

    Args:
        entry: Environment entry as ``NAME=value``.
    """
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with suppress(OSError):  # the process has ended meanwhile, or belongs to another user
                if entry.encode() in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
    return found


def reap_group(group: int) -> None:
    """Reap all ended children of a process group, including adopted orphans."""
    with suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass


def kill_own_group() -> None:
    """Kill this process and its workers at once, because no supervisor is left to end them."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _prctl(option: int, argument: int) -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(argument), 0, 0, 0)
