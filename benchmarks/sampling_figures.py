# SPDX-License-Identifier: MIT
"""Compute figures from NVML readings: energy in two ways, means over a window, and punctuality."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler._core import NOT_MEASURED

Readings = NDArray[Any]
"""Rows as returned by _core.GpuSampler, with the field ``at_ns``."""
EARLY: Final = 0.1
"""Possible error of a deadline as a share of the interval, because deadlines are estimated from the readings."""


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy between two readings of the counter, and the integral of the sampled power over the same time."""

    seconds: float
    counter_j: float
    integral_j: float

    @property
    def disagreement(self) -> float:
        """How far the integral is from the counter, as a share of the counter."""
        return abs(self.integral_j / self.counter_j - 1)


@dataclass(frozen=True, slots=True)
class Jitter:
    """Distance of readings from their deadlines, on a fixed grid whose phase is that of the median reading."""

    readings: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def energy_between(energy: Readings, fast: Readings, start_ns: int, end_ns: int) -> Energy | None:
    """Return the energy from the first to the last counter reading in a window, or None if it holds less than two.

    Power is integrated by trapezoids and interpolated at the window's edges. If the power readings do not reach an
    edge, the nearest one is used. NVML's power is an average over the last second (Hopper), so right after a change of
    load the integral lags behind.
    """
    inside = energy[(energy["at_ns"] >= start_ns) & (energy["at_ns"] <= end_ns)]
    power = fast[fast["power_mw"] != NOT_MEASURED]
    if len(inside) < 2 or len(power) < 2:
        return None
    first_ns, last_ns = int(inside["at_ns"][0]), int(inside["at_ns"][-1])
    within = power[(power["at_ns"] > first_ns) & (power["at_ns"] < last_ns)]
    at_s = (np.concatenate([[first_ns], within["at_ns"], [last_ns]]) - first_ns) / 1e9
    watts = np.interp(at_s, (power["at_ns"] - first_ns) / 1e9, power["power_mw"] / 1e3)
    integral_j = float(((watts[1:] + watts[:-1]) / 2 * np.diff(at_s)).sum())
    counter_mj = int(inside["energy_mj"][-1]) - int(inside["energy_mj"][0])
    return Energy((last_ns - first_ns) / 1e9, counter_mj / 1e3, integral_j)


def activity_in(gpm: Readings, metric: str, start_ns: int, end_ns: int) -> float | None:
    """Return the mean of a GPM metric over the intervals entirely inside a window, or None if there are none."""
    inside = gpm[(gpm["at_ns"] - gpm["interval_ns"] >= start_ns) & (gpm["at_ns"] <= end_ns)]
    known = inside[~np.isnan(inside[metric])]
    return float(np.average(known[metric], weights=known["interval_ns"])) if len(known) else None


def mean_in(fast: Readings, field: str, start_ns: int, end_ns: int) -> float | None:
    """Return the mean of a fast reading's field in a window, or None if it was not measured there."""
    values = _measured_in(fast, field, start_ns, end_ns)
    return float(values.mean()) if len(values) else None


def throttle_reasons_in(fast: Readings, start_ns: int, end_ns: int) -> dict[str, float]:
    """Return each reason, as NVML's bit mask in hexadecimal, and its share of the readings in a window."""
    values = _measured_in(fast, "throttle_reasons", start_ns, end_ns)
    reasons, counts = np.unique(values, return_counts=True)
    return {f"{int(reason):#x}": int(count) / len(values) for reason, count in zip(reasons, counts, strict=True)}


def jitter(readings: Readings, interval_ms: float, missed_deadlines: int) -> Jitter | None:
    """Return deviations from the deadlines, or None with fewer than two readings.

    Deadlines without a reading are skipped.

    Args:
        readings: Readings in the order of their times.
        interval_ms: Time between deadlines.
        missed_deadlines: Number that the tier counted. A reading that is late by whole intervals made the tier miss as
            many deadlines; if it missed none, a gap between readings comes from queries that failed.
    """
    if len(readings) < 2:
        return None
    intervals = (readings["at_ns"] - readings["at_ns"][0]) / (interval_ms * 1e6)
    since_grid = intervals - _phase(intervals)
    late = since_grid - _deadlines(since_grid, missed_deadlines)
    off_ms = np.abs(late - np.median(late)) * interval_ms
    p50_ms, p99_ms, max_ms = np.quantile(off_ms, [0.5, 0.99, 1.0]).tolist()
    return Jitter(len(readings), p50_ms, p99_ms, max_ms)


def _phase(intervals: NDArray[np.float64]) -> float:
    """Return where the grid of deadlines lies, in intervals: at the early readings, because none is taken too early.

    The times are folded around their mean direction on a circle, because any of them may be far off, also the first
    one.
    """
    center = float(np.angle(np.exp(2j * np.pi * intervals).mean())) / (2 * np.pi)
    folded = (intervals - center + 0.5) % 1 - 0.5
    return center + float(np.quantile(folded, 0.05))


def _deadlines(since_grid: NDArray[np.float64], missed_deadlines: int) -> NDArray[np.float64]:
    """Return the number of the deadline that each reading was taken for, by the rule of the sampler's tiers.

    A tier (csrc/capture/sampler_tier.h) waits for one deadline after the other, and after a query for the next one that
    has not passed yet. So a reading belongs to the latest deadline at or before it that is not the next reading's, or
    to an earlier one if the query before cannot have lasted beyond that. A reading's time is the middle of its query.
    The query began when it was due or later, so it ended after its reading by at most as long as the reading came after
    the deadline.
    """
    order = np.arange(len(since_grid))
    free = np.floor(since_grid + EARLY) - order
    latest = np.minimum.accumulate(free[::-1])[::-1] + order
    deadlines: NDArray[np.float64] = latest.copy()
    for i in range(1, len(deadlines)):
        before = deadlines[i - 1]
        passed = max(before, np.floor(2 * since_grid[i - 1] - before + EARLY))
        deadlines[i] = max(min(passed + 1, latest[i]), latest[i] - missed_deadlines)
    return deadlines


def _measured_in(fast: Readings, field: str, start_ns: int, end_ns: int) -> NDArray[Any]:
    inside = fast[(fast["at_ns"] >= start_ns) & (fast["at_ns"] <= end_ns)]
    values: NDArray[Any] = inside[field]
    return values[values != NOT_MEASURED]
