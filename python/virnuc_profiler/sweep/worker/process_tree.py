# SPDX-License-Identifier: MIT
"""Who dies with whom, and who takes in orphans: what Linux has for it, through ``prctl``."""

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
    """Has the kernel kill this process when its parent dies, which `parent_pid` must be; now, if it is dead already.

    Strictly it is the parent's thread: one that starts processes which call this must live as long as they. Does
    nothing where the system has no such thing.
    """
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def is_subreaper() -> bool:
    """Whether descendants of this process whose parent dies become its own children."""
    answer = ctypes.c_int(0)
    _prctl(_GET_SUBREAPER, ctypes.addressof(answer))
    return bool(answer.value)


def set_subreaper(adopt: bool) -> None:
    """Makes them its own children, so that it can reap them, or no longer."""
    _prctl(_SET_SUBREAPER, int(adopt))


def live_pids_in_session(session: int) -> list[int]:
    """Process ids of the session that live: not the zombies, which only wait to be reaped."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):  # it has ended meanwhile
                # After the name, which may hold blanks and brackets: state, parent, group, session.
                state, _, _, its_session = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:4]
                if int(its_session) == session and state not in (b"Z", b"X"):
                    found.append(int(entry.name))
    return found


def live_pids_with_environment(entry: str) -> list[int]:
    """Process ids of those that live and were started with that entry in their environment, ``NAME=value``."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with suppress(OSError):  # it has ended meanwhile, or is somebody else's
                if entry.encode() in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
    return found


def reap_group(group: int) -> None:
    """Takes the exit codes of all children of the group that have ended, adopted ones too."""
    with suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass


def _prctl(option: int, argument: int) -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(argument), 0, 0, 0)
