# SPDX-License-Identifier: MIT
"""Checks of arguments, so that misuse reads alike everywhere."""

import operator
from typing import Any

MAX_INT32 = 2**31 - 1
"""The most tokens that int32 cumulative lengths can count."""


def checked_integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """`value` as an int between `low` and `high`, both included.

    Raises:
        TypeError: not an integer.
        ValueError: out of range.
    """
    wanted = f"at least {low}" if high is None else f"from {low} to {high}"
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}, must be an integer, {wanted}") from None
    if isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}, must be an integer, {wanted}")
    if number < low or (high is not None and number > high):
        raise ValueError(f"{name} is {number}, must be {wanted}")
    return number
