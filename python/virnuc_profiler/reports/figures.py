# SPDX-License-Identifier: MIT
"""Formatting of values in reports. Numbers are formatted by ``telemetry.number_text``."""

from __future__ import annotations

from typing import Any

from virnuc_profiler.telemetry.number_text import (
    NOT_MEASURED,
    counted,
    hours,
    limit,
    number,
    percent,
    rate,
    share,
    times,
    with_interval,
)
from virnuc_profiler.telemetry.values import printable, shown

__all__ = [
    "NOT_MEASURED", "counted", "hours", "limit", "number", "percent", "rate", "share", "times",
    "with_interval", "words",
]  # fmt: skip


def milliseconds(nanoseconds: float | None, sign: str = "") -> str:
    """Format a time as milliseconds, such as ``1,234.567``.

    Args:
        nanoseconds: Time in ns, or None.
        sign: ``+`` to show the sign of positive values too.
    """
    return NOT_MEASURED if nanoseconds is None else f"{nanoseconds / 1e6:{sign},.3f}"


def microseconds(nanoseconds: float | None, sign: str = "") -> str:
    """Format a time as microseconds, such as ``12.3 µs``.

    Args:
        nanoseconds: Time in ns, or None.
        sign: ``+`` to show the sign of positive values too.
    """
    return NOT_MEASURED if nanoseconds is None else f"{nanoseconds / 1e3:{sign},.1f} µs"


def words(value: Any, limit: int = 200) -> str:
    """Format a value of unknown origin for a terminal, with invisible characters escaped.

    Args:
        value: Value to format. Lists are joined with commas, None prints as ``n/a``, and True as ``true``.
        limit: Maximum number of characters.
    """
    if value is None:
        return NOT_MEASURED
    if isinstance(value, str):
        return printable(value, limit)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return printable(", ".join(words(item, limit) for item in value), limit) if value else "none"
    return shown(value)
