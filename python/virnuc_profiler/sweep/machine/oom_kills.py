# SPDX-License-Identifier: MIT
"""Count the processes that the kernel's OOM killer has killed. These counters are the only evidence of an OOM kill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from virnuc_profiler.capture.control_groups import PROC, UNIFIED, control_groups

_FILES: Final = ("memory.events.local", "memory.events", "memory.oom_control")
"""Files of a control group (cgroup v2, then v1) that have a line ``oom_kill N``."""


def oom_kills(proc: Path = PROC) -> dict[str, int]:
    """Return the OOM-kill counters of this process's control groups and of the whole machine, by file.

    Args:
        proc: Mount point of procfs. The mount points of the control groups are read from it.
    """
    counts = {}
    for path in (*_group_files(proc), proc / "vmstat"):
        count = _read(path)
        if count is not None:
            counts[str(path)] = count
    return counts


def oom_kills_since(before: Mapping[str, int], now: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return the growth of each counter that has grown.

    Args:
        before: Earlier result of :func:`oom_kills`.
        now: Current result of :func:`oom_kills`. None reads the counters.
    """
    counts = oom_kills() if now is None else now
    return {path: count - before.get(path, 0) for path, count in counts.items() if count > before.get(path, 0)}


def _group_files(proc: Path) -> Iterator[Path]:
    """Yield the files of the process's own groups and of the outermost ones that it sees."""
    for groups in (control_groups("memory", proc), control_groups(UNIFIED, proc)):
        for folder in dict.fromkeys((*groups[:1], *groups[-1:])):
            yield from (folder / name for name in _FILES)


def _read(path: Path) -> int | None:
    try:
        for line in path.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    except (OSError, ValueError):
        return None
    return None
