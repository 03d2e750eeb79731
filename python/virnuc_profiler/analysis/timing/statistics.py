# SPDX-License-Identifier: MIT
"""Means and percentiles that skip values that were not measured."""

from __future__ import annotations

import math
from collections.abc import Iterable


def measured(values: Iterable[float | None]) -> list[float]:
    """Return the values that are not None.

    Args:
        values: Values, with None for what was not measured.
    """
    return [value for value in values if value is not None]


def mean(values: Iterable[float | None]) -> float | None:
    """Return the arithmetic mean of the measured values; None without values.

    Args:
        values: Values, with None for what was not measured.
    """
    known = measured(values)
    return math.fsum(known) / len(known) if known else None


def weighted_mean(pairs: Iterable[tuple[float | None, float]]) -> float | None:
    """Return the weighted mean of the measured values; None without values or without weight.

    Args:
        pairs: Pairs of value and weight, with None for values that were not measured.
    """
    known = [(value, weight) for value, weight in pairs if value is not None]
    total = math.fsum(weight for _, weight in known)
    return math.fsum(value * weight for value, weight in known) / total if total > 0 else None


def percentile(values: Iterable[float | None], percent: float) -> float | None:
    """Return a percentile of the measured values by linear interpolation; None without values.

    The definition is the default of ``numpy.percentile`` (Hyndman and Fan 1996, type 7): rank percent / 100 * (n - 1),
    counted from 0.

    Args:
        values: Values, with None for what was not measured.
        percent: Percentile to compute, 0 to 100.

    Raises:
        ValueError: `percent` is not between 0 and 100.
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
