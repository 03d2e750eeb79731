# SPDX-License-Identifier: MIT
"""Formatting of values in reports. Numbers are formatted by ``telemetry.number_text``."""

from __future__ import annotations

from typing import Any

from virnuc_profiler.telemetry.number_text import NOT_MEASURED, hours, limit, number, percent, rate, share, times
from virnuc_profiler.telemetry.values import printable, shown

__all__ = ["NOT_MEASURED", "hours", "limit", "number", "percent", "rate", "share", "times", "words"]


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
