# SPDX-License-Identifier: MIT
"""A mark in the environment of workers, by which what they start is known to be ours even once it is an orphan.

A process that a worker starts loses its parent when the worker ends, and then hangs below process 1 like any other. But
the environment that it was started with stays readable.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

_VARIABLE: Final = "VIRNUC_PROFILER_OWNER"
_START_TIME: Final = 19
"""Place in /proc/PID/stat behind the name: field 22 of proc(5), in clock ticks since boot."""


def own_mark() -> str:
    """Names this process; with its start time, since process ids are used again."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()  # the name before may hold anything
    return f"{os.getpid()}@{fields[_START_TIME]}"


@contextmanager
def marked_environment() -> Iterator[None]:
    """What is started inside carries this process's mark, and so does all that it starts itself."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = own_mark()
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before


def marked_processes() -> set[psutil.Process]:
    """The processes of this user that carry this process's mark, wherever they hang."""
    entry = f"{_VARIABLE}={own_mark()}".encode()
    found = set()
    for pid in psutil.pids():
        with suppress(OSError, psutil.NoSuchProcess):  # ended meanwhile, or somebody else's
            if entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(psutil.Process(pid))
    return found
