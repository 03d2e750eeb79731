# SPDX-License-Identifier: MIT
"""Conversion of user values to plain JSON values when they arrive, not hours later when a file is written."""

import math
import os
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np

MAX_DEPTH = 32
"""Maximum nesting of lists and objects that is written or read."""

_MAX_BITS = 1024
_SHOWN_CHARACTERS = 120


def plain_items(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a deep copy of a mapping as plain JSON values; NumPy values, paths and dates are converted.

    Args:
        values: Values by name. Tensors are refused: reading one from a GPU would synchronize the device, and only the
            caller may decide to do that (``tensor.item()``).
        name: Name of the mapping in error messages.

    Raises:
        ValueError: A value contains NaN, infinity or an integer of more than 1,024 bits, or is nested too deeply.
        TypeError: A value contains a type that JSON does not support, or a key is not a string.
    """
    return {_key(key, name): _to_plain(value, str(key), 0) for key, value in values.items()}


def _to_plain(value: Any, name: str, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is float and math.isfinite(value):
        return value
    if isinstance(value, int):
        if value.bit_length() > _MAX_BITS:
            raise ValueError(f"{name} is an integer of {value.bit_length()} bits; at most {_MAX_BITS} are kept")
        return int(value)
    if isinstance(value, str):  # drops subclasses
        return str.__str__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{name} is {float(value)}, which JSON does not have; use None where it was not measured")
        return float(value)
    if depth >= MAX_DEPTH:
        raise ValueError(f"{name} is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, np.generic | np.ndarray):
        return _to_plain(value.tolist(), name, depth + 1)
    if isinstance(value, Mapping):
        return {_key(key, name): _to_plain(item, f"{name}[{key!r}]", depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item, f"{name}[{number}]", depth + 1) for number, item in enumerate(value)]
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(
        f"{name} is a {type(value).__name__}, which JSON does not have; pass a number, string, list or dict"
    )


def _key(key: Any, name: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{name} has the key {shown(key)}; keys must be strings")
    return str(key)


def printable(text: str, limit: int = 200) -> str:
    """Return a text with control and other invisible characters escaped, for terminals and reports.

    Args:
        text: Text of unknown origin.
        limit: Maximum number of characters; longer texts are cut.
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)


def shown(value: Any) -> str:
    """Return a short, printable ``repr`` of a value for error messages.

    Args:
        value: Value of unknown origin.
    """
    try:
        return printable(repr(value), _SHOWN_CHARACTERS)
    except (RecursionError, ValueError):  # nested too deeply, or an integer of more than 4,300 digits
        return f"a {type(value).__name__} that is too large to show"
