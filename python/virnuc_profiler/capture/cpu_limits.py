# SPDX-License-Identifier: MIT
"""How much CPU time this process may use, and how often a quota held it back: affinity, control groups, pressure."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from virnuc_profiler.capture.control_groups import PROC, UNIFIED, control_groups, lines_of

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
    quotas = [found for folder in _folders(proc) if (found := _quota(folder)) is not None]
    return CpuLimits(affinity, *min(quotas, default=(None, None)))


def cpu_counters(proc: Path = PROC) -> CpuCounters:
    """Return the counters of this process's control group and its ancestors. Never raises.

    Args:
        proc: Mount point of procfs. The mount points of the control groups are read from it.
    """
    throttling = {str(folder): counts for folder in _folders(proc) if (counts := _throttling(folder)) is not None}
    own = (folder / "cpu.pressure" for folder in control_groups(UNIFIED, proc)[:1])
    pressures = map(_pressure_ns, (*own, proc / "pressure/cpu"))
    return CpuCounters(throttling, next((found for found in pressures if found is not None), None))


def _folders(proc: Path) -> tuple[Path, ...]:
    """Return the folders that may hold a CPU quota: of the process's own groups and of all visible ancestors."""
    return (*control_groups("cpu", proc), *control_groups(UNIFIED, proc))


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
    for line in lines_of(folder / "cpu.stat"):
        name, _, value = line.partition(" ")
        with suppress(ValueError):
            counts[name] = int(value)
    if "nr_periods" not in counts or "nr_throttled" not in counts:
        return None
    waited_ns = counts["throttled_time"] if "throttled_time" in counts else 1000 * counts.get("throttled_usec", 0)
    return counts["nr_periods"], counts["nr_throttled"], waited_ns


def _pressure_ns(file: Path) -> int | None:
    for line in lines_of(file):
        if line.startswith("some ") and (found := re.search(r"total=(\d+)", line)):
            return 1000 * int(found[1])
    return None


def _words(path: Path) -> list[str]:
    lines = lines_of(path)
    return lines[0].split() if lines else []
