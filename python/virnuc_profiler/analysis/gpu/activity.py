# SPDX-License-Identifier: MIT
"""Load, activity, power and energy of the GPU during a time interval, from NVML readings.

Every value follows the rule of coverage in ``analysis/gpu/coverage.py``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from virnuc_profiler.analysis.gpu.coverage import (
    ENERGY_STEP_NS,
    NVML_WINDOW_NS,
    Coverage,
    Sampled,
    averaged_reach_ns,
    coverage_of,
    spans_before,
)
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.analysis.timing.statistics import weighted_mean
from virnuc_profiler.telemetry.records import EnergyReading, GpmReading, GpuReading, GpuSamples


def utilization_during(interval: Interval, gpu: GpuSamples) -> Sampled:
    """Return the mean GPU utilization over the seen part of an interval, percent.

    Each reading is weighted with the time for which it stands: the time since the previous reading, limited to NVML's
    window, so that gaps in the readings do not count.

    Args:
        interval: Start and end on the host's clock, ns.
        gpu: Readings of the GPU.
    """
    readings = [each for each in _readings_in(interval, gpu.fast) if each.utilization_percent is not None]
    spans = spans_before(interval, (each.at_ns for each in readings), averaged_reach_ns(gpu))
    value = weighted_mean(
        (each.utilization_percent, end - start) for each, (start, end) in zip(readings, spans, strict=True)
    )
    return Sampled.from_readings(value, coverage_of(interval, spans, len(readings), NVML_WINDOW_NS / 2))


def peak_power_during(interval: Interval, gpu: GpuSamples) -> Sampled:
    """Return the highest power during the seen part of an interval, W.

    Args:
        interval: Start and end on the host's clock, ns.
        gpu: Readings of the GPU.
    """
    powers = [(each.at_ns, each.power_mw) for each in _readings_in(interval, gpu.fast) if each.power_mw is not None]
    spans = spans_before(interval, (at_ns for at_ns, _ in powers), averaged_reach_ns(gpu))
    peak = max((power_mw / 1e3 for _, power_mw in powers), default=None)
    return Sampled.from_readings(peak, coverage_of(interval, spans, len(powers), NVML_WINDOW_NS / 2))


def sampled_activity(interval: Interval, readings: Sequence[GpmReading], field: str) -> Sampled:
    """Return the mean of an activity over the part of an interval that GPM readings cover.

    A reading that extends beyond the interval counts with the part inside, and blurs the ends by the part outside.

    Args:
        interval: Start and end on the host's clock, ns.
        readings: GPM readings.
        field: Name of the activity in a reading, such as ``sm_activity``.
    """
    start, end = interval
    pairs, spans, outside_ns = [], [], 0
    for reading in readings:
        first = max(reading.at_ns - reading.interval_ns, start)
        last = min(reading.at_ns, end)
        if first < last and getattr(reading, field) is not None:
            pairs.append((getattr(reading, field), last - first))
            spans.append((first, last))
            outside_ns += reading.interval_ns - (last - first)
    return Sampled.from_readings(weighted_mean(pairs), coverage_of(interval, spans, len(spans), outside_ns))


class Energy(NamedTuple):
    """Energy that the device used during an interval.

    Attributes:
        joules: Increase of the energy counter during `seconds`; None if it is unknown or covers too little.
        seconds: Part of the interval that the counter covers; None if it is unknown.
        coverage: Coverage of the interval; None without two readings.
    """

    joules: float | None
    seconds: float | None
    coverage: Coverage | None


def energy_during(interval: Interval, readings: Sequence[EnergyReading]) -> Energy:
    """Return the energy that the device used during an interval, as far as its counter covers it.

    This is the difference of the energy counter between end and start of the interval, interpolated between readings.
    The counter counts between readings too, so only time before the first and after the last reading is unseen. Energy
    is not extrapolated into that time.

    Args:
        interval: Start and end on the host's clock, ns.
        readings: Readings of the energy counter in order of time. A counter that decreases, because the driver was
            reloaded, gives no energy.
    """
    if len(readings) < 2 or any(later.energy_mj < earlier.energy_mj for earlier, later in pairwise(readings)):
        return Energy(None, None, None)
    covered = max(interval[0], readings[0].at_ns), min(interval[1], readings[-1].at_ns)
    if covered[0] >= covered[1]:
        return Energy(None, None, None)
    joules = (_energy_mj(covered[1], readings) - _energy_mj(covered[0], readings)) / 1e3
    used = sum(covered[0] <= later.at_ns and earlier.at_ns <= covered[1] for earlier, later in pairwise(readings)) + 1
    coverage = coverage_of(interval, [covered], used, ENERGY_STEP_NS)
    return Energy(joules if coverage.sufficient else None, (covered[1] - covered[0]) / 1e9, coverage)


def _energy_mj(at_ns: int, readings: Sequence[EnergyReading]) -> float:
    """Return the counter at a time between the first and the last reading."""
    after = min(bisect_right(readings, at_ns, key=lambda reading: reading.at_ns), len(readings) - 1)
    low, high = readings[after - 1], readings[after]
    share = (at_ns - low.at_ns) / (high.at_ns - low.at_ns) if high.at_ns > low.at_ns else 1.0
    return low.energy_mj + share * (high.energy_mj - low.energy_mj)


def _readings_in(interval: Interval, readings: Sequence[GpuReading]) -> Sequence[GpuReading]:
    """Return the readings in (start, end], which look back into the interval."""
    start, end = interval
    return readings[bisect_right(readings, start, key=_at) : bisect_right(readings, end, key=_at)]


def _at(reading: GpuReading) -> int:
    return reading.at_ns
