# SPDX-License-Identifier: MIT
"""Formatting of values in reports. None, for what was not measured, prints as ``n/a``."""

from __future__ import annotations

from typing import Any

from virnuc_profiler.telemetry.values import printable, shown

NOT_MEASURED = "n/a"
"""Text of reports for what was not measured."""


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """Format a number as ``12,345.6``, or in scientific notation if it is very large.

    Args:
        value: Number to format, or None.
        digits: Number of decimal places.
        unit: Text to append to the number.
    """
    if value is None:
        return NOT_MEASURED
    if abs(value) < 1e15:
        return f"{value:,.{digits}f}{unit}"
    try:
        return f"{float(value):.3e}{unit}"
    except OverflowError:  # integers in files may exceed the range of floats
        return f"{'less than -' if value < 0 else 'more than '}1e308{unit}"


def percent(value: float | None) -> str:
    """Format a percentage from 0 to 100 as ``86.0%``.

    Args:
        value: Percentage to format, or None.
    """
    return number(value, 1, "%")


def share(value: float | None) -> str:
    """Format a share from 0 to 1 as ``86.0%``.

    Args:
        value: Share to format, or None.
    """
    return percent(None if value is None else 100 * value)


def hours(value: float | None) -> str:
    """Format hours as ``8.27 h``.

    Args:
        value: Hours to format, or None.
    """
    return number(value, 2, " h")


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
        value: Value to format. Lists are joined with commas, and None prints as ``n/a``.
        limit: Maximum number of characters.
    """
    if value is None:
        return NOT_MEASURED
    if isinstance(value, str):
        return printable(value, limit)
    if isinstance(value, list):
        return printable(", ".join(words(item, limit) for item in value), limit) if value else "none"
    return shown(value)
