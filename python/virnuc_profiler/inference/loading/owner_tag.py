# SPDX-License-Identifier: MIT
"""Tag what this process starts: processes by their environment, shared memory segments by their names.

Tagged processes are found wherever they hang in the process tree. Tagged segments show their owner even when no process
has them open any more: the kernel does not record who made a segment, and Python's own names are random.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import shared_memory
from pathlib import Path
from typing import Final

import psutil

_VARIABLE: Final = "VIRNUC_PROFILER_OWNER"
_START_TIME: Final = 19
"""Index of ``starttime`` among the fields of /proc/PID/stat after the name: field 22 of proc(5), in clock ticks."""

_SEGMENT_CHARACTERS: Final = 4
"""Of 5 bits each. Python allows 13 characters in all and needs 4 of them for its random part."""


def owner_tag() -> str:
    """Return the tag of this process: its id, its start time and its process namespace.

    Process ids are reused, and each namespace has its own.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()  # the name itself may contain ")"
    namespace = ""
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return f"{os.getpid()}@{fields[_START_TIME]}@{namespace}"


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


def segment_prefix(tag: str) -> str:
    """Return the prefix of all segments that the owner of a tag and its workers make.

    Args:
        tag: Tag of the owner, from :func:`owner_tag`.
    """
    digest = base64.b32encode(hashlib.sha256(tag.encode()).digest()).decode().lower()
    return f"psm_{digest[:_SEGMENT_CHARACTERS]}"


def tag_segments(tag: str) -> None:
    """Put a tag into the names of all segments that this process makes through ``multiprocessing.shared_memory``.

    This is a no-op in a Python that builds these names in another way.

    Args:
        tag: Tag of the process that owns the segments.
    """
    module = vars(shared_memory)
    if "_SHM_NAME_PREFIX" in module:
        module["_SHM_NAME_PREFIX"] = f"/{segment_prefix(tag)}"
