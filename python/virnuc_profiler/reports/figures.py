# SPDX-License-Identifier: MIT
"""How reports print values. None, what was not measured, is ``n/a``."""

from __future__ import annotations

from typing import Any

from virnuc_profiler.telemetry.values import printable, shown

NOT_MEASURED = "n/a"


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """``12,345.6``; values too large for that in scientific notation."""
    if value is None:
        return NOT_MEASURED
    if abs(value) < 1e15:
        return f"{value:,.{digits}f}{unit}"
    try:
        return f"{float(value):.3e}{unit}"
    except OverflowError:  # files may hold whole numbers that no float can
        return f"{'less than -' if value < 0 else 'more than '}1e308{unit}"


def percent(value: float | None) -> str:
    """``86.0%`` of a value from 0 to 100."""
    return number(value, 1, "%")


def share(value: float | None) -> str:
    """``86.0%`` of a value from 0 to 1."""
    return percent(None if value is None else 100 * value)


def hours(value: float | None) -> str:
    """``8.27 h``."""
    return number(value, 2, " h")


def words(value: Any, limit: int = 200) -> str:
    """A value of unknown origin for a terminal: lists with commas, None as ``n/a``, nothing invisible."""
    if value is None:
        return NOT_MEASURED
    if isinstance(value, str):
        return printable(value, limit)
    if isinstance(value, list):
        return printable(", ".join(words(item, limit) for item in value), limit) if value else "none"
    return shown(value)
