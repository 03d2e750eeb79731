# SPDX-License-Identifier: MIT
"""How much CPU time this process may use, and how often a quota held it back: affinity, control groups, pressure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Final

PROC: Final = Path("/proc")

_Throttling = tuple[int, int, int]
"""Periods of a quota, those in which it was used up, and the nanoseconds that threads waited for the next one."""


@dataclass(frozen=True, slots=True)
class CpuLimits:
    """Limits of the CPU time of this process.

    Attributes:
        affinity_cores: Number of cores that the process may run on, by its affinity mask and its cpuset; None if the
            system does not tell.
        quota_cores: Seconds of CPU time per second that the tightest quota of the control group and its ancestors
            grants; None without a quota.
        quota_file: File that holds this quota; None without a quota.
    """

    affinity_cores: int | None
    quota_cores: float | None = None
    quota_file: Path | None = None

    @property
    def usable_cores(self) -> int | float | None:
        """Cores that the process can use, as an int where it is whole; None if the system does not tell."""
        known = [cores for cores in (self.affinity_cores, self.quota_cores) if cores is not None]
        cores = min(known, default=None)
        return int(cores) if cores is not None and cores == int(cores) else cores

    @property
    def quota_binds(self) -> bool:
        """Whether the quota is tighter than the affinity mask."""
        return self.quota_cores is not None and self.quota_cores < (self.affinity_cores or float("inf"))

    def __str__(self) -> str:
        if self.quota_binds:
            return f"{self.quota_cores:.4g} of {self.affinity_cores} cores"
        return f"{self.affinity_cores} core{'' if self.affinity_cores == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class CpuCounters:
    """Counters that only grow; their growth during a run says how often it had to wait for the CPU.

    Attributes:
        throttling: Periods, throttled periods and throttled nanoseconds of each control group, by its folder.
        pressure_ns: Time in which a thread of the control group, or of the machine, waited for a core; None if the
            kernel does not measure it.
    """

    throttling: Mapping[str, _Throttling] = field(default_factory=dict)
    pressure_ns: int | None = None

    def throttled_since(self, before: CpuCounters) -> _Throttling | None:
        """Return the growth of the counters of the group that was throttled most; None without a group that has them.

        Args:
            before: Earlier counters. Counters that are not among them have begun at 0.
        """
        growth = [
            (now[0] - then[0], now[1] - then[1], now[2] - then[2])
            for folder, now in self.throttling.items()
            for then in [before.throttling.get(folder, (0, 0, 0))]
        ]
        return max(growth, key=lambda one: (one[1], one[0]), default=None)


def cpu_limits(proc: Path = PROC) -> CpuLimits:
    """Return the limits of this process's CPU time. Never raises.

    A cpuset needs no file: the kernel applies it to the affinity mask.

    Args:
        proc: Mount point of procfs. The mount points of the control groups are read from it.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quotas = [found for folder in _groups(proc).folders if (found := _quota(folder)) is not None]
    return CpuLimits(affinity, *min(quotas, default=(None, None)))


def cpu_counters(proc: Path = PROC) -> CpuCounters:
    """Return the counters of this process's control group and its ancestors. Never raises.

    Args:
        proc: Mount point of procfs. The mount points of the control groups are read from it.
    """
    groups = _groups(proc)
    throttling = {str(folder): counts for folder in groups.folders if (counts := _throttling(folder)) is not None}
    pressures = map(_pressure_ns, groups.pressure_files)
    return CpuCounters(throttling, next((found for found in pressures if found is not None), None))


@dataclass(frozen=True, slots=True)
class _Groups:
    """The control groups of this process.

    Attributes:
        folders: Folders that may hold a CPU quota: of the process's own groups and of all visible ancestors.
        pressure_files: Files of the CPU pressure, the process's own group first.
    """

    folders: tuple[Path, ...]
    pressure_files: tuple[Path, ...]


def _groups(proc: Path) -> _Groups:
    return _find_groups(proc, tuple(_lines(proc / "self/cgroup")))


@lru_cache(maxsize=16)
def _find_groups(proc: Path, memberships: tuple[str, ...]) -> _Groups:
    """Find the folders of control groups. Cached, because reading all mounts takes a millisecond.

    Args:
        proc: Mount point of procfs.
        memberships: Lines of ``/proc/self/cgroup``: number, controllers of cgroup v1 (empty for v2), and path.
    """
    fields = [line.split(":", 2) for line in memberships]
    paths = [(names.split(","), path) for _, names, path in (each for each in fields if len(each) == 3)]
    mounts = list(_mounts(proc))

    def folders_of(controller: str) -> tuple[Path, ...]:
        path = next((path for names, path in paths if controller in names), None)
        mount = next(((root, point) for names, root, point in mounts if controller in names), None)
        return () if path is None or mount is None else tuple(_folders(path, *mount))

    v1, v2 = folders_of("cpu"), folders_of("")
    return _Groups((*v1, *v2), (*(folder / "cpu.pressure" for folder in v2[:1]), proc / "pressure/cpu"))


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
    for line in _lines(proc / "self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        root, mount_point = (_unescaped(text) for text in fields[3:5])
        yield ("",) if kind[0] == "cgroup2" else tuple(kind[2].split(",")), root, mount_point


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _quota(folder: Path) -> tuple[float, Path] | None:
    """Return the cores that a control group's own quota grants, and its file; None without a quota."""
    with suppress(ValueError, ZeroDivisionError, IndexError):
        if fields := _words(folder / "cpu.max"):  # cgroup v2: "max 100000" or "25000 100000"
            return (int(fields[0]) / int(fields[1]), folder / "cpu.max") if fields[0] != "max" else None
        quota, period = (_words(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota and period and int(quota[0]) > 0:
            return int(quota[0]) / int(period[0]), folder / "cpu.cfs_quota_us"
    return None


def _throttling(folder: Path) -> _Throttling | None:
    counts = {}
    for line in _lines(folder / "cpu.stat"):
        name, _, value = line.partition(" ")
        with suppress(ValueError):
            counts[name] = int(value)
    if "nr_periods" not in counts or "nr_throttled" not in counts:
        return None
    waited_ns = counts["throttled_time"] if "throttled_time" in counts else 1000 * counts.get("throttled_usec", 0)
    return counts["nr_periods"], counts["nr_throttled"], waited_ns


def _pressure_ns(file: Path) -> int | None:
    for line in _lines(file):
        if line.startswith("some ") and (found := re.search(r"total=(\d+)", line)):
            return 1000 * int(found[1])
    return None


def _words(path: Path) -> list[str]:
    lines = _lines(path)
    return lines[0].split() if lines else []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not mounted, or not readable for this user
        return []
