# SPDX-License-Identifier: MIT
"""Keys of the telemetry summary about the host: interruptions, and the CPU time that it granted."""

from __future__ import annotations

from typing import Any

from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.run_result import RunResult


def host_keys(run: RunResult) -> dict[str, Any]:
    """Return the summary keys about the host; none for a run whose host was not watched.

    Args:
        run: Run to summarize.
    """
    keys: dict[str, Any] = {}
    if run.stops is not None:
        keys |= {"stopped_seconds": run.stopped_s, "suspended_seconds": run.suspended_s}
    if (host := run.host) is not None:
        waited_s = None if host.pressure_ns is None else host.pressure_ns / 1e9
        pressure = ratio(waited_s, run.elapsed_s)
        keys |= {
            "cpu_usable_cores": host.usable_cores,
            "cpu_quota_cores": host.quota_cores,
            "cpu_quota_periods": host.quota_periods,
            "cpu_throttled_periods": host.throttled_periods,
            "cpu_throttled_seconds": None if host.throttled_ns is None else host.throttled_ns / 1e9,
            "cpu_pressure_fraction": None if pressure is None else min(1.0, pressure),
        }
    return keys
