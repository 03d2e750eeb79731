# SPDX-License-Identifier: MIT
"""Tag the processes that this one starts, so that they are found again wherever they hang in the process tree."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

_VARIABLE: Final = "VIRNUC_PROFILER_OWNER"
_START_TIME: Final = 19
"""Index of ``starttime`` among the fields of /proc/PID/stat after the name: field 22 of proc(5), in clock ticks."""


def owner_tag() -> str:
    """Return the tag of this process: its id and its start time, because process ids are reused."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()  # the name itself may contain ")"
    return f"{os.getpid()}@{fields[_START_TIME]}"


@contextmanager
def owner_environment() -> Iterator[None]:
    """Put this process's tag into the environment, which every process started inside the block inherits."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = owner_tag()
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before


def owned_processes() -> set[psutil.Process]:
    """Return the processes of this user that carry this process's tag, whatever their parent is now."""
    entry = f"{_VARIABLE}={owner_tag()}".encode()
    found = set()
    for pid in psutil.pids():
        with suppress(OSError, psutil.NoSuchProcess):  # it has ended, or belongs to another user
            if entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(psutil.Process(pid))
    return found
