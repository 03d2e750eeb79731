# SPDX-License-Identifier: MIT
"""What profiling cost, in a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from virnuc_profiler.reports.figures import NOT_MEASURED, number


def render_cost(summary: Mapping[str, Any]) -> str:
    """The cost in the keys of a telemetry summary: ``0.012% of the run (3,010 calls of 1.05 us), threads ...``."""
    calls, per_call_ns = summary.get("profiling_calls"), summary.get("profiling_call_ns")
    fraction = summary.get("profiling_host_fraction")
    if calls is None or per_call_ns is None or fraction is None:
        return NOT_MEASURED
    threads = summary.get("profiling_thread_cpu_seconds")
    beside = "" if threads is None else f"; its threads {number(threads, 3, ' s')} of CPU beside it"
    return f"{100 * fraction:.3f}% of the run ({calls:,} calls of {per_call_ns / 1e3:.2f} us){beside}"
