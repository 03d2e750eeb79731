# SPDX-License-Identifier: MIT
"""Whether the GPU's readings ended before the run did."""

from __future__ import annotations

from typing import Final

from virnuc_profiler.telemetry.run_result import RunResult

_LATE: Final = 5
"""Readings that may be missing at the end without meaning anything: a busy machine is late by some."""


def sampling_lost_after(run: RunResult) -> float | None:
    """Seconds from the run's start to the last reading of a sampling that failed from then on; None if it went on.

    A driver that is reloaded, or a GPU that falls off the bus, takes NVML away in the middle of a run.
    """
    tier = None if run.gpu is None else next((tier for tier in run.gpu.tiers if tier.name == "fast"), None)
    if run.gpu is None or tier is None or not (tier.errors or tier.stalled):
        return None
    times = [reading.at_ns for reading in run.gpu.fast if reading.utilization_percent is not None]
    last_ns = max(times, default=run.host_start_ns)
    if run.host_end_ns - last_ns <= _LATE * tier.interval_ms * 1e6:
        return None
    return max(0, last_ns - run.host_start_ns) / 1e9
