# SPDX-License-Identifier: MIT
"""What NVML's readings say of a stretch of time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.analysis.timing.statistics import mean, weighted_mean
from virnuc_profiler.telemetry.records import EnergyReading, GpmReading, GpuReading

NVML_WINDOW_NS = 1_000_000_000
"""NVML's utilization is an average over the last 1/6 to 1 s, by product (NVML reference, nvmlUtilization_t)."""


def utilization_of(interval: Interval, readings: Sequence[GpuReading]) -> float | None:
    """GPU utilization of a stretch of time, percent.

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
    """Mean GPU utilization over time, percent.

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


ACTIVITY_COVERAGE = 0.25
"""Readings of GPM must cover this share of a stretch of time to speak for it."""


def activity_during(interval: Interval, readings: Sequence[GpmReading], field: str) -> float | None:
    """Mean of an activity over the part of `interval` that the readings cover; None if that is too little.

    A reading that reaches beyond the interval counts with the part of it inside.
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
    """Energy by the device's counter, and how much of `interval` it covers.

    The counter at the interval's end less that at its start, each interpolated between the readings around it. An
    end that no reading lies beyond is not extrapolated: the energy covers what lies between the readings.

    Returns:
        (joules, seconds); None with fewer than two readings, or if the counter ran backwards (driver reloaded).
    """
    if len(readings) < 2 or any(later.energy_mj < earlier.energy_mj for earlier, later in pairwise(readings)):
        return None
    start, end = max(interval[0], readings[0].at_ns), min(interval[1], readings[-1].at_ns)
    if start >= end:
        return None
    return (_energy_mj(end, readings) - _energy_mj(start, readings)) / 1e3, (end - start) / 1e9


def _energy_mj(at_ns: int, readings: Sequence[EnergyReading]) -> float:
    """The counter at a moment within the readings."""
    after = min(bisect_right(readings, at_ns, key=lambda reading: reading.at_ns), len(readings) - 1)
    low, high = readings[after - 1], readings[after]
    share = (at_ns - low.at_ns) / (high.at_ns - low.at_ns) if high.at_ns > low.at_ns else 1.0
    return low.energy_mj + share * (high.energy_mj - low.energy_mj)


def _at(reading: GpuReading) -> int:
    return reading.at_ns
