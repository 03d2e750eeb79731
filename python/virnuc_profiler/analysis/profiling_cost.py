# SPDX-License-Identifier: MIT
"""What profiling cost a run, from what was measured in it."""

from __future__ import annotations

from typing import Any

from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.run_result import RunResult


def profiling_cost_keys(run: RunResult) -> dict[str, Any]:
    """Keys of the telemetry summary; none for a run that did not measure its cost.

    ``profiling_host_fraction`` is the share of the run that the loop spent inside the profiler: what profiling can
    have slowed it down by, where the host is what the run waits for. The threads run beside the loop; they cost
    it something only where no core is free.
    """
    cost = run.cost
    if cost is None:
        return {}
    threads = [ns for ns in (cost.harvest_cpu_ns, cost.sampling_cpu_ns) if ns is not None]
    host_ns = cost.host_ns
    return {
        "profiling_calls": cost.calls,
        "profiling_call_ns": cost.mean_call_ns,
        "profiling_host_seconds": None if host_ns is None else host_ns / 1e9,
        "profiling_host_fraction": ratio(None if host_ns is None else host_ns / 1e9, run.elapsed_s),
        "profiling_thread_cpu_seconds": sum(threads) / 1e9 if threads else None,
    }
