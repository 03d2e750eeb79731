# SPDX-License-Identifier: MIT
"""Means and percentiles over the values that were measured."""

from __future__ import annotations

import math
from collections.abc import Iterable


def measured(values: Iterable[float | None]) -> list[float]:
    """`values` without the ones that are None."""
    return [value for value in values if value is not None]


def mean(values: Iterable[float | None]) -> float | None:
    """Arithmetic mean of the measured values; None if there are none."""
    known = measured(values)
    return math.fsum(known) / len(known) if known else None


def weighted_mean(pairs: Iterable[tuple[float | None, float]]) -> float | None:
    """Mean of (value, weight) pairs over the measured values; None if there are none, or no weight."""
    known = [(value, weight) for value, weight in pairs if value is not None]
    total = math.fsum(weight for _, weight in known)
    return math.fsum(value * weight for value, weight in known) / total if total > 0 else None


def percentile(values: Iterable[float | None], percent: float) -> float | None:
    """Percentile of the measured values, by linear interpolation between the two nearest ranks.

    The same definition as ``numpy.percentile``'s default (Hyndman and Fan 1996, type 7): rank
    percent / 100 * (n - 1), counted from 0. None if there are no values.

    Raises:
        ValueError: `percent` is not from 0 to 100.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"percent is {percent}; it must be from 0 to 100")
    known = sorted(measured(values))
    if not known:
        return None
    rank = percent / 100 * (len(known) - 1)
    below = math.floor(rank)
    low, high = known[below], known[min(below + 1, len(known) - 1)]
    return low + (high - low) * (rank - below)
