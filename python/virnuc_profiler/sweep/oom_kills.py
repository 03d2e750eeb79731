# SPDX-License-Identifier: MIT
"""How many processes the kernel has killed because memory ran out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")
_FILES: Final = ("memory.events.local", "memory.events", "memory.oom_control")
"""Of a control group, version 2 and 1; each has a line ``oom_kill N``."""
_ROOTS: Final[Mapping[str, tuple[str, ...]]] = {"": (".", "unified"), "memory": ("memory",)}
"""Where the trees of groups hang, by the controllers that /proc/self/cgroup names: none for version 2."""


def oom_kills(proc: Path = Path("/proc"), cgroups: Path = _CGROUPS) -> dict[str, int]:
    """The counters that concern this process, by the file that holds each: its control groups', and the machine's."""
    counts = {}
    for path in (*_files_of_groups(proc, cgroups), proc / "vmstat"):
        count = _read(path)
        if count is not None:
            counts[str(path)] = count
    return counts


def _files_of_groups(proc: Path, cgroups: Path) -> Iterator[Path]:
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in _ROOTS:
            continue
        for root in _ROOTS[controllers]:
            yield from (cgroups / root / path.lstrip("/") / name for name in _FILES)


def _read(path: Path) -> int | None:
    try:
        for line in path.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    except (OSError, ValueError):
        return None
    return None
