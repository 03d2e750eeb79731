# SPDX-License-Identifier: MIT
"""Load, activity and energy of the GPU during a time interval, from NVML readings."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.analysis.timing.statistics import mean, weighted_mean
from virnuc_profiler.telemetry.records import EnergyReading, GpmReading, GpuReading

NVML_WINDOW_NS = 1_000_000_000
"""Longest averaging window of NVML's utilization: 1/6 to 1 s, depending on the product (nvmlUtilization_t)."""


def utilization_of(interval: Interval, readings: Sequence[GpuReading]) -> float | None:
    """Return the GPU utilization during an interval, percent; None without readings.

    This is the mean of the readings in (start, end], which look back into the interval. An interval without readings
    gets the first reading within a second after its end, whose averaging window may reach back into it.

    Args:
        interval: Start and end on the host's clock, ns.
        readings: Readings in order of time.
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
    """Return the mean GPU utilization over time, percent; None if no reading lies in (start, end].

    Each reading is weighted with the time since the previous reading or the start of the interval, limited to NVML's
    window of 1 s, so that gaps in the readings do not count.

    Args:
        interval: Start and end on the host's clock, ns.
        readings: Readings in order of time.
    """
    before, end = interval
    pairs = []
    for reading in readings:
        if reading.utilization_percent is not None and before < reading.at_ns <= end:
            pairs.append((reading.utilization_percent, min(reading.at_ns - before, NVML_WINDOW_NS)))
            before = reading.at_ns
    return weighted_mean(pairs)


ACTIVITY_COVERAGE = 0.25
"""Minimum share of an interval that GPM readings must cover to represent it."""


def activity_during(interval: Interval, readings: Sequence[GpmReading], field: str) -> float | None:
    """Return the mean of an activity over the part of an interval that readings cover; None if they cover too little.

    A reading that extends beyond the interval counts with the part inside.

    Args:
        interval: Start and end on the host's clock, ns.
        readings: GPM readings.
        field: Name of the activity in a reading, such as ``sm_activity``.
    """
    start, end = interval
    pairs = []
    for reading in readings:
        inside_ns = min(reading.at_ns, end) - max(reading.at_ns - reading.interval_ns, start)
        if inside_ns > 0 and getattr(reading, field) is not None:
            pairs.append((getattr(reading, field), inside_ns))
    if sum(inside_ns for _, inside_ns in pairs) < ACTIVITY_COVERAGE * (end - start):
        return None
    return weighted_mean(pairs)


def energy_between(interval: Interval, readings: Sequence[EnergyReading]) -> tuple[float, float] | None:
    """Return the energy that the device used during an interval, and the time that it covers.

    This is the difference of the energy counter between end and start of the interval, interpolated between readings.
    Energy is not extrapolated: outside of the readings the interval is not covered.

    Args:
        interval: Start and end on the host's clock, ns.
        readings: Readings of the energy counter in order of time.

    Returns:
        (joules, seconds), or None with fewer than two readings or if the counter decreased (the driver was reloaded).
    """
    if len(readings) < 2 or any(later.energy_mj < earlier.energy_mj for earlier, later in pairwise(readings)):
        return None
    start, end = max(interval[0], readings[0].at_ns), min(interval[1], readings[-1].at_ns)
    if start >= end:
        return None
    return (_energy_mj(end, readings) - _energy_mj(start, readings)) / 1e3, (end - start) / 1e9


def _energy_mj(at_ns: int, readings: Sequence[EnergyReading]) -> float:
    """Return the counter at a time between the first and the last reading."""
    after = min(bisect_right(readings, at_ns, key=lambda reading: reading.at_ns), len(readings) - 1)
    low, high = readings[after - 1], readings[after]
    share = (at_ns - low.at_ns) / (high.at_ns - low.at_ns) if high.at_ns > low.at_ns else 1.0
    return low.energy_mj + share * (high.energy_mj - low.energy_mj)


def _at(reading: GpuReading) -> int:
    return reading.at_ns
