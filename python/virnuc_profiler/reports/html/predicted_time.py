# SPDX-License-Identifier: MIT
"""The predicted time of a job in a unit that suits it: a small model takes minutes where a large one takes hours."""

from __future__ import annotations

from typing import Final, NamedTuple

from virnuc_profiler.reports.figures import number, with_interval


class TimeUnit(NamedTuple):
    """A unit of time.

    Attributes:
        name: Name in the plural, such as ``hours``.
        short: Symbol, such as ``h``.
        seconds: Its length in seconds.
    """

    name: str
    short: str
    seconds: float


_UNITS: Final = (TimeUnit("hours", "h", 3600.0), TimeUnit("minutes", "min", 60.0), TimeUnit("seconds", "s", 1.0))


def time_fact(hours: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    """Return a predicted time and its interval as texts, such as ``3.68 hours`` and ``3.59 to 3.78``.

    Args:
        hours: Hours of the job, or None.
        low: Lower end of the interval in hours, or None.
        high: Upper end of the interval in hours, or None.
    """
    unit = unit_of((hours or 0.0) * 3600)
    value, *ends = (None if one is None else one * 3600 / unit.seconds for one in (hours, low, high))
    return number(value, 2, f" {unit.name}"), with_interval("", *ends).strip(" ()")


def unit_of(seconds: float) -> TimeUnit:
    """Return the largest unit of which a time has at least one; seconds for shorter ones.

    Args:
        seconds: The time, or the longest of several that are shown beside each other.
    """
    return next((unit for unit in _UNITS if seconds >= unit.seconds), _UNITS[-1])
