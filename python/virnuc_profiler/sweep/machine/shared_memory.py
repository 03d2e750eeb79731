# SPDX-License-Identifier: MIT
"""Find the shared memory segments in /dev/shm that a run has leaked, apart from those of other programs."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path("/dev/shm")  # noqa: S108  it is where Linux has them

_OF_PROCESS = re.compile(r"torch_(\d+)_")
"""PyTorch's names. The id is from the namespace of the process that made the segment, which may not be ours."""
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


@dataclass(frozen=True, slots=True)
class NewSegments:
    """Names of segments that came since, by what shows that they are ours.

    Attributes:
        ours: Segments that carry our tag, or that one of our live processes has mapped or open.
        unattributed: Segments whose name has a process id of ours and nothing else. Where containers share /dev/shm,
            other programs have the same ids, so these may be theirs.
    """

    ours: tuple[str, ...] = ()
    unattributed: tuple[str, ...] = ()


def new_segments(
    before: Collection[str], alive: Collection[int], ended: Collection[int], prefix: str, folder: Path = FOLDER
) -> NewSegments:
    """Return the segments that came since, without those of other programs.

    Other programs of this user, other sweeps among them, make and leave segments at the same time. So a segment
    counts as ours only with proof.

    Args:
        before: Names of the segments that were there before.
        alive: Process ids of this process and of its live descendants.
        ended: Process ids of processes that this process has started, which may have ended.
        prefix: How the names of segments begin that our processes make through ``multiprocessing.shared_memory``.
        folder: Folder that holds the segments.
    """
    new = [name for name in sorted(segments(folder) - frozenset(before)) if not name.startswith(_LASTING)]
    if not new:
        return NewSegments()
    held = frozenset(path for pid in alive for path in _held_by(pid, folder))
    pids = {*alive, *ended}
    ours, unattributed = [], []
    for name in new:
        if name.startswith(prefix) or str(folder / name) in held:
            ours.append(name)
        elif (match := _OF_PROCESS.match(name)) is not None and int(match[1]) in pids:
            unattributed.append(name)
    return NewSegments(tuple(ours), tuple(unattributed))


def free_bytes(folder: Path = FOLDER) -> int | None:
    """Return the bytes that new segments can use; None if the folder does not exist."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def _held_by(pid: int, folder: Path) -> Iterator[str]:
    """Yield the files of a folder that a process has mapped or open; none if it has ended."""
    start = f"{folder}/"
    with suppress(OSError):
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:  # noqa: PTH123
            for line in maps:
                if (at := line.find(start)) >= 0:
                    yield line[at:].rstrip()
        for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
            with suppress(OSError):  # closed meanwhile
                yield os.readlink(f"/proc/{pid}/fd/{name}")  # noqa: PTH115
