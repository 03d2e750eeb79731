# SPDX-License-Identifier: MIT
"""How well the steady rate of a run is known, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from virnuc_profiler.analysis.confidence.rate_interval import SETTLED, UNSETTLED
from virnuc_profiler.reports.figures import limit, number

_MAX_AMOUNT = 1e300


def steady_interval_text(summary: Mapping[str, Any]) -> str:
    """Return the interval of the steady tokens per second, or why there is none.

    Args:
        summary: Telemetry summary, possibly by another writer.

    Returns:
        Text such as ``95% interval: 99,179 to 100,193`` or ``not settled``; empty if the summary says nothing.
    """
    found = summary.get("steady_interval")
    if not isinstance(found, Mapping) or summary.get("steady_tokens_per_sec") is None:
        return ""
    confidence, low, high = (_amount(found.get(key)) for key in ("confidence", "low", "high"))
    if found.get("state") == SETTLED and confidence is not None:
        return f"{limit(100 * confidence, '%')} interval: {number(low)} to {number(high)}"
    return "not settled" if found.get("state") == UNSETTLED else "too short for an interval"


def _amount(value: Any) -> float | None:
    """Return a number of a file that can be shown; None for anything else."""
    return float(value) if type(value) in (int, float) and abs(value) < _MAX_AMOUNT else None
