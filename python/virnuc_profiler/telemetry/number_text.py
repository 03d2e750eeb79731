# SPDX-License-Identifier: MIT
"""Text of numbers in tables, verdicts and messages. None, for what was not measured, prints as ``n/a``.

A printed number must not hide what was decided by it: it has at least three significant digits, and next to a limit as
many as it takes to show on which side of the limit it lies.
"""

from __future__ import annotations

import math
from typing import Final

NOT_MEASURED: Final = "n/a"
"""Text for what was not measured."""

SIGNIFICANT_DIGITS: Final = 3
"""Smallest number of significant digits: rounding then changes a value by 0.5 % at most."""

_MAX_DIGITS: Final = 9
"""Largest number of decimal places. Smaller values are in scientific notation, and closer ones count as equal."""

_MORE_IF_EQUAL: Final = 2
"""Further decimal places of a value that equals its limit, which may have some itself, such as 92.55 %."""

_ROUNDING: Final = 1e-9
"""Tolerance in units of the last place: 9.2 / 0.1 is a little less than 92, and must not become 91."""

_TOO_LARGE: Final = 1e15


def number(value: float | None, digits: int = 0, unit: str = "", *, beside: float | None = None) -> str:
    """Format a number as ``12,345.6``, or in scientific notation if it is very large or very small.

    Args:
        value: Number to format, or None. Whole numbers of type int are printed as they are.
        digits: Smallest number of decimal places.
        unit: Text to append to the number.
        beside: Number that the value is compared with, such as the limit of a requirement or the best of a table. The
            value gets more decimal places until it lies on its own side of that number.
    """
    if value is None:
        return NOT_MEASURED
    if value != value:
        return f"nan{unit}"
    if abs(value) >= _TOO_LARGE:
        return _scientific(value, unit)
    if not isinstance(value, int) and value:
        digits = max(digits, SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(abs(value))))
    if digits > _MAX_DIGITS:
        return f"{value:.2e}{unit}"
    if beside is not None:
        most = _MAX_DIGITS if _side(value, beside) else digits + _MORE_IF_EQUAL
        digits = next((more for more in range(digits, most + 1) if _keeps_side(value, beside, more)), digits)
    return f"{value:,.{digits}f}{unit}"


def counted(count: int, one: str, many: str = "") -> str:
    """Format a count with its noun, such as ``1 sequence`` or ``2,000 sequences``.

    Args:
        count: Number of things.
        one: Noun for one thing; a verb may follow, such as ``record is``.
        many: Noun for any other number; empty for `one` with an ``s``.
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def percent(value: float | None, *, beside: float | None = None) -> str:
    """Format a percentage from 0 to 100 as ``86.0%``.

    Args:
        value: Percentage to format, or None.
        beside: Percentage that the value is compared with; see :func:`number`.
    """
    return number(value, 1, "%", beside=beside)


def share(value: float | None, *, beside: float | None = None) -> str:
    """Format a share from 0 to 1 as ``86.0%``.

    Args:
        value: Share to format, or None.
        beside: Share that the value is compared with; see :func:`number`.
    """
    return percent(None if value is None else 100 * value, beside=None if beside is None else 100 * beside)


def limit(value: float, unit: str = "") -> str:
    """Format a limit in full, without digits that say nothing, such as ``90%`` or ``92.5%``.

    Args:
        value: Limit, in the unit.
        unit: Text to append to the number.
    """
    return f"{value:.12g}{unit}"


def hours(value: float | None, *, beside: float | None = None) -> str:
    """Format hours as ``8.27 h``.

    Args:
        value: Hours to format, or None.
        beside: Hours that the value is compared with; see :func:`number`.
    """
    return number(value, 2, " h", beside=beside)


def between(low: float, high: float) -> str:
    """Format an interval as ``3.57 to 3.77``, rounded outward by an eighth of its width at most.

    Args:
        low: Lower end.
        high: Upper end.
    """
    width = high - low
    digits = min(_MAX_DIGITS, math.ceil(-math.log10(width / 8))) if width > 0 else SIGNIFICANT_DIGITS
    unit, decimals = 10.0**-digits, max(0, digits)
    first, last = math.floor(low / unit + _ROUNDING), math.ceil(high / unit - _ROUNDING)
    return f"{first * unit:,.{decimals}f} to {last * unit:,.{decimals}f}"


def with_interval(text: str, low: float | None, high: float | None) -> str:
    """Append an interval to the text of a value, such as ``3.67 hours (3.57 to 3.77)``; nothing if it is not known.

    Args:
        text: The value with its unit.
        low: Lower end in the same unit, or None.
        high: Upper end in the same unit, or None.
    """
    return text if low is None or high is None else f"{text} ({between(low, high)})"


def rate(value: float | None, *, beside: float | None = None) -> str:
    """Format sequences per second as ``454.8``.

    Args:
        value: Rate to format, or None.
        beside: Rate that the value is compared with; see :func:`number`.
    """
    return number(value, 1, beside=beside)


def times(value: float | None, *, beside: float | None = 1.0) -> str:
    """Format a quotient, such as a speedup, as ``1.20x``.

    Args:
        value: Quotient to format, or None.
        beside: Quotient that the value is compared with; see :func:`number`.
    """
    return number(value, 2, "x", beside=beside)


def _keeps_side(value: float, other: float, digits: int) -> bool:
    """Return whether the rounded value is below, equal to or above another number exactly if the value is."""
    printed = float(f"{value:.{digits}f}")
    return _side(printed, other) == _side(value, other)


def _side(value: float, other: float) -> int:
    if math.isclose(value, other, rel_tol=1e-9, abs_tol=0.0):
        return 0
    return -1 if value < other else 1


def _scientific(value: float, unit: str) -> str:
    try:
        return f"{float(value):.3e}{unit}"
    except OverflowError:  # integers in files may exceed the range of floats
        return f"{'less than -' if value < 0 else 'more than '}1e308{unit}"
