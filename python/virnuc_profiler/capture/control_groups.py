# SPDX-License-Identifier: MIT
"""The control groups (cgroup v1 and v2) of this process, as folders that hold their limits and counters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Final

PROC: Final = Path("/proc")

UNIFIED: Final = ""
"""Name that stands for cgroup v2, whose one hierarchy has all controllers."""


def control_groups(controller: str, proc: Path = PROC) -> tuple[Path, ...]:
    """Return the folder of this process's own group, then those of all visible ancestors. Never raises.

    Args:
        controller: Controller of cgroup v1, such as ``cpu``, or :data:`UNIFIED`.
        proc: Mount point of procfs. The mount points of the control groups are read from it.
    """
    return _find(controller, proc, tuple(lines_of(proc / "self/cgroup")))


def lines_of(path: Path) -> list[str]:
    """Return the lines of a file; empty if it is not there or not readable for this user.

    Args:
        path: File of procfs or of a control group.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


@lru_cache(maxsize=64)
def _find(controller: str, proc: Path, memberships: tuple[str, ...]) -> tuple[Path, ...]:
    """Find the folders of one controller. Cached, because reading all mounts takes a millisecond.

    Args:
        controller: As for :func:`control_groups`.
        proc: Mount point of procfs.
        memberships: Lines of ``/proc/self/cgroup``: number, controllers of cgroup v1 (empty for v2), and path.
    """
    fields = [line.split(":", 2) for line in memberships]
    paths = [(names.split(","), path) for _, names, path in (each for each in fields if len(each) == 3)]
    path = next((path for names, path in paths if controller in names), None)
    mount = next(((root, point) for names, root, point in _mounts(proc) if controller in names), None)
    return () if path is None or mount is None else tuple(_folders(path, *mount))


def _folders(path: str, root: str, mount_point: str) -> Iterator[Path]:
    """Yield the folder of a control group and those of its visible ancestors.

    Args:
        path: Path of the group in its hierarchy.
        root: Path of the group that is mounted.
        mount_point: Where it is mounted.
    """
    inside = PurePosixPath(path)
    # A container may see its own group at the mount point, whatever the path says.
    below = inside.relative_to(root) if inside.is_relative_to(root) else PurePosixPath()
    folder = Path(mount_point)
    parts = below.parts if ".." not in below.parts and (folder / below).is_dir() else ()
    for depth in range(len(parts), -1, -1):
        yield folder.joinpath(*parts[:depth])


def _mounts(proc: Path) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield the controllers, the root within the hierarchy, and the mount point of each mounted hierarchy."""
    for line in lines_of(proc / "self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        root, mount_point = (_unescaped(text) for text in fields[3:5])
        yield (UNIFIED,) if kind[0] == "cgroup2" else tuple(kind[2].split(",")), root, mount_point


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
