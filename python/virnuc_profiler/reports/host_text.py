# SPDX-License-Identifier: MIT
"""Lines of a report about the host: interruptions, and the CPU time that it granted. None for an undisturbed run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from virnuc_profiler.reports.figures import number, share
from virnuc_profiler.telemetry.rates import ratio


def interruption_figures(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield label and value of each kind of interruption that occurred.

    Args:
        summary: Telemetry summary of a run.
    """
    if summary.get("stopped_seconds"):
        elapsed = number(summary.get("elapsed_seconds"), 1, " s")
        stopped = number(summary["stopped_seconds"], 1)
        yield "Stopped (signal, debugger, freezer)", f"{stopped} of {elapsed}: rates include it, measure again"
    if summary.get("suspended_seconds"):
        yield "Machine asleep", f"{number(summary['suspended_seconds'], 1, ' s')}: measure again"


def cpu_figures(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield label and value of the CPU quota, and how often it was used up; nothing without a quota.

    Args:
        summary: Telemetry summary of a run.
    """
    if summary.get("cpu_quota_cores") is None and not summary.get("cpu_throttled_periods"):
        return
    yield "CPU quota", number(summary.get("cpu_quota_cores"), 2, " cores")
    throttled, periods = summary.get("cpu_throttled_periods"), summary.get("cpu_quota_periods")
    if periods:
        yield (
            "Periods throttled by the quota",
            f"{number(throttled)} of {number(periods)} ({share(ratio(throttled, periods))})",
        )
    if summary.get("cpu_pressure_fraction") is not None:
        yield "Time a thread waited for a core", share(summary["cpu_pressure_fraction"])
