# SPDX-License-Identifier: MIT
"""What the doctor and the headers of runs say about the CPU time of this process."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from virnuc_profiler.capture.control_groups import PROC
from virnuc_profiler.capture.cpu_limits import CpuCounters, CpuLimits, cpu_counters, cpu_limits
from virnuc_profiler.capture.device_checks import MISSING, OK, Check

_MIN_CORES: Final = 2.0
"""A loop and one worker each need a core."""

_MAX_THROTTLED: Final = 0.1

_FIX: Final = "raise the quota: docker run --cpus, Kubernetes limits.cpu, or cpu.max of the control group"


def cpu_check(proc: Path = PROC) -> Check:
    """Check how much CPU time this process may use, and whether a quota has held it back so far.

    Args:
        proc: Mount point of procfs.
    """
    limits = cpu_limits(proc)
    found = f"{limits} usable"
    if limits.quota_file is not None:
        found += f"; the quota in {limits.quota_file} grants {limits.quota_cores:.4g}"
    periods, throttled, _ = cpu_counters(proc).throttled_since(CpuCounters()) or (0, 0, 0)
    if throttled:
        found += f", and was used up in {throttled / periods:.1%} of the periods so far"
    held_back = limits.quota_binds and (limits.usable_cores or 0) < _MIN_CORES
    if held_back or throttled > _MAX_THROTTLED * periods:
        return Check("CPU", MISSING, found, _FIX)
    return Check("CPU", OK, found)


def quota_notice(limits: CpuLimits | None = None) -> str | None:
    """Return a line for the header of a run whose CPU time a quota limits; None without such a quota.

    Args:
        limits: Limits of the process; None reads them.
    """
    limits = cpu_limits() if limits is None else limits
    if not limits.quota_binds:
        return None
    return f"CPU: {limits} usable, by the quota in {limits.quota_file}; loop and workers share them"
