# SPDX-License-Identifier: MIT
"""Checks of arguments whose errors have the same form everywhere."""

import operator
from typing import Any

MAX_INT32 = 2**31 - 1
"""Largest number of tokens that int32 cumulative lengths can count."""


def checked_integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return `value` as an int if it lies between `low` and `high`, both included.

    Args:
        name: Name of the argument, for the message.
        value: The argument; NumPy integers are accepted, bool is not.
        low: Smallest value allowed.
        high: Largest value allowed; None for no limit.

    Raises:
        TypeError: `value` is not an integer.
        ValueError: `value` is out of range.
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
