# SPDX-License-Identifier: MIT
"""Count the processes that the kernel's OOM killer has killed. These counters are the only evidence of an OOM kill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")
_FILES: Final = ("memory.events.local", "memory.events", "memory.oom_control")
"""Files of a control group (cgroup v2, then v1) that have a line ``oom_kill N``."""
_ROOTS: Final[Mapping[str, tuple[str, ...]]] = {"": (".", "unified"), "memory": ("memory",)}
"""Mount points of the cgroup hierarchies, by the controllers in /proc/self/cgroup, which are empty for cgroup v2."""


def oom_kills(proc: Path = Path("/proc"), cgroups: Path = _CGROUPS) -> dict[str, int]:
    """Return the OOM-kill counters of this process's control groups and of the whole machine, by file.

    Args:
        proc: Mount point of procfs.
        cgroups: Mount point of the control groups.
    """
    counts = {}
    for path in (*_cgroup_files(proc, cgroups), proc / "vmstat"):
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


def _cgroup_files(proc: Path, cgroups: Path) -> Iterator[Path]:
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in _ROOTS:
            continue
        for root in _ROOTS[controllers]:
            # A container may see its own group at the root of the mount, regardless of the path.
            folders = dict.fromkeys((cgroups / root / path.lstrip("/"), cgroups / root))
            for folder in folders:
                for name in _FILES:
                    yield folder / name


def _read(path: Path) -> int | None:
    try:
        for line in path.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    except (OSError, ValueError):
        return None
    return None
