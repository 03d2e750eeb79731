# SPDX-License-Identifier: MIT
"""Find the shared memory segments in /dev/shm that a run has leaked, apart from those of other programs."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

FOLDER: Final = Path("/dev/shm")  # noqa: S108  it is where Linux has them

_OF_PROCESS = re.compile(r"torch_(\d+)_")
_LASTING: Final = ("cuda.shm.", "nccl-", "sem.")
"""Name prefixes of segments that CUDA and NCCL keep until this process ends, and of semaphores (32 bytes each)."""


def segments(folder: Path = FOLDER) -> frozenset[str]:
    """Return the names of this user's segments; none if the folder does not exist."""
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return frozenset()
    found = set()
    for name in names:
        with suppress(OSError):  # removed meanwhile
            if (folder / name).lstat().st_uid == os.geteuid():
                found.add(name)
    return frozenset(found)


def left_segments(
    before: Collection[str], ours: Collection[int], prefix: str, folder: Path = FOLDER
) -> tuple[str, ...]:
    """Return the names of the segments that came since and that our own processes have made.

    Other programs of this user, other sweeps among them, make and leave segments at the same time. So a segment
    counts only with evidence: its name says that it is ours, or one of our processes has it mapped or open.

    Args:
        before: Names of the segments that were there before.
        ours: Process ids of this process and of all processes that it has started, dead ones too.
        prefix: How the names of segments begin that our processes make through ``multiprocessing.shared_memory``.
        folder: Folder that holds the segments.
    """
    new = sorted(segments(folder) - frozenset(before))
    return tuple(name for name in new if not name.startswith(_LASTING) and _is_ours(folder / name, ours, prefix))


def free_bytes(folder: Path = FOLDER) -> int | None:
    """Return the bytes that new segments can use; None if the folder does not exist."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def _is_ours(segment: Path, ours: Collection[int], prefix: str) -> bool:
    """Whether the name tells that one of our processes made it, PyTorch's by a process id, or one of them has it."""
    if (match := _OF_PROCESS.match(segment.name)) is not None:
        return int(match[1]) in ours
    return segment.name.startswith(prefix) or any(_has(pid, segment) for pid in ours)


def _has(pid: int, segment: Path) -> bool:
    """Whether a process has a segment mapped or open; False if it has ended."""
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:  # noqa: PTH123
            if any(line.rstrip().endswith(str(segment)) for line in maps):
                return True
        return any(os.readlink(entry.path) == str(segment) for entry in os.scandir(f"/proc/{pid}/fd"))  # noqa: PTH115
    except OSError:
        return False
