# SPDX-License-Identifier: MIT
"""Find the shared memory segments in /dev/shm that a run has leaked, apart from those of other programs."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

FOLDER: Final = Path("/dev/shm")  # noqa: S108  it is where Linux has them

_OF_PROCESS = re.compile(r"torch_(\d+)_")
_OF_PYTHON: Final = "psm_"
"""How ``multiprocessing.shared_memory`` begins its names."""
_LASTING: Final = ("cuda.shm.", "nccl-", "sem.")
"""Name prefixes of segments that CUDA and NCCL keep until this process ends, and of semaphores (32 bytes each)."""


def segments(folder: Path = FOLDER) -> frozenset[str]:
    """Return the names of this user's segments; none if the folder does not exist."""
    return frozenset(name for name, status in _entries(folder) if status.st_uid == os.geteuid())


def left_segments(before: Collection[str], ours: Collection[int], folder: Path = FOLDER) -> tuple[str, ...]:
    """The segments that came since and belong to no other living program.

    Args:
        before: the names that were there.
        ours: process ids of this process and all that it started.
        folder: where segments lie.
    """
    new = sorted(segments(folder) - frozenset(before))
    return tuple(name for name in new if not name.startswith(_LASTING) and _is_ours(folder / name, ours))


def free_bytes(folder: Path = FOLDER) -> int | None:
    """Return the bytes that new segments can use; None if the folder does not exist."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def _is_ours(segment: Path, ours: Collection[int]) -> bool:
    """PyTorch's names tell the owner; others belong to whoever has them mapped or open.

    What nobody has is an orphan. One with a name of Python's is taken for ours, since it came while our run was on; any
    other file may be anybody's, as some use /dev/shm for temporary files.
    """
    if (match := _OF_PROCESS.match(segment.name)) is not None:
        owner = int(match[1])
        return owner in ours or not psutil.pid_exists(owner)
    users = set(_users(segment))
    return bool(users & set(ours)) or (not users and segment.name.startswith(_OF_PYTHON))


def _users(segment: Path) -> Iterator[int]:
    for pid in psutil.pids():
        try:
            with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:  # noqa: PTH123
                if any(line.rstrip().endswith(str(segment)) for line in maps):
                    yield pid
                    continue
            if any(os.readlink(entry.path) == str(segment) for entry in os.scandir(f"/proc/{pid}/fd")):  # noqa: PTH115
                yield pid
        except OSError:  # ended meanwhile, or somebody else's
            continue


def _entries(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return
    for name in names:
        with suppress(OSError):  # removed meanwhile
            yield name, (folder / name).lstat()
