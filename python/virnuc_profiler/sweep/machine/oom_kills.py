# SPDX-License-Identifier: MIT
"""How many processes the kernel has killed because memory ran out: the only witness of such a death."""

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


def oom_kills_since(before: Mapping[str, int], now: Mapping[str, int] | None = None) -> dict[str, int]:
    """By how much each counter has grown; those that have not are left out.

    Args:
        before: what :func:`oom_kills` said.
        now: what it says now; it is asked without.
    """
    counts = oom_kills() if now is None else now
    return {path: count - before.get(path, 0) for path, count in counts.items() if count > before.get(path, 0)}


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
            # A container may see its own group at the root, whatever the path says.
            folders = dict.fromkeys((cgroups / root / path.lstrip("/"), cgroups / root))
            yield from (folder / name for folder in folders for name in _FILES)


def _read(path: Path) -> int | None:
    try:
        for line in path.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    except (OSError, ValueError):
        return None
    return None
