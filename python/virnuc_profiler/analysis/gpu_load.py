# SPDX-License-Identifier: MIT
"""What NVML's readings say of a stretch of time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from virnuc_profiler.analysis.intervals import Interval
from virnuc_profiler.analysis.statistics import mean, weighted_mean
from virnuc_profiler.telemetry.records import EnergyReading, GpmReading, GpuReading

NVML_WINDOW_NS = 1_000_000_000
"""NVML's utilisation is an average over the last 1/6 to 1 s, by product (NVML reference, nvmlUtilization_t)."""


def utilization_of(interval: Interval, readings: Sequence[GpuReading]) -> float | None:
    """GPU utilisation of a stretch of time, percent.

    The mean of the readings taken inside (start, end], since these look back into it. A stretch that is too short
    to hold one gets the first reading within a second after its end, whose window may still reach back into it.
    None if there is neither.

    Args:
        interval: start and end on the host's axis, ns.
        readings: in order of time.
    """
    start, end = interval
    first = bisect_right(readings, start, key=_at)
    after = bisect_right(readings, end, key=_at)
    inside = mean(reading.utilization_percent for reading in readings[first:after])
    if inside is not None:
        return inside
    for at in range(after, len(readings)):
        if readings[at].at_ns > end + NVML_WINDOW_NS:
            break
        if (percent := readings[at].utilization_percent) is not None:
            return float(percent)
    return None


def mean_utilization(interval: Interval, readings: Sequence[GpuReading]) -> float | None:
    """Mean GPU utilisation over time, percent.

    Each reading stands for the time since the one before it (or since the start), but for no more than NVML's
    window of 1 s: a gap in the readings counts for nothing. None if no reading lies in (start, end].
    """
    before, end = interval
    pairs = []
    for reading in readings:
        if reading.utilization_percent is not None and before < reading.at_ns <= end:
            pairs.append((reading.utilization_percent, min(reading.at_ns - before, NVML_WINDOW_NS)))
            before = reading.at_ns
    return weighted_mean(pairs)


def mean_activity(readings: Sequence[GpmReading], field: str) -> float | None:
    """Mean of ``sm_activity``, ``tensor_activity`` or ``dram_activity`` over time, 0 to 1; None if not measured."""
    return weighted_mean((getattr(reading, field), reading.interval_ns) for reading in readings)


def energy_between(interval: Interval, readings: Sequence[EnergyReading]) -> tuple[float, float] | None:
    """Energy by the device's counter, and how much of `interval` it covers.

    The difference between the last and the first reading inside the interval.

    Returns:
        (joules, seconds); None with fewer than two readings, or if the counter ran backwards (driver reloaded).
    """
    start, end = interval
    inside = [reading for reading in readings if start <= reading.at_ns <= end]
    if len(inside) < 2 or any(later.energy_mj < earlier.energy_mj for earlier, later in pairwise(inside)):
        return None
    seconds = (inside[-1].at_ns - inside[0].at_ns) / 1e9
    return ((inside[-1].energy_mj - inside[0].energy_mj) / 1e3, seconds) if seconds > 0 else None


def _at(reading: GpuReading) -> int:
    return reading.at_ns
