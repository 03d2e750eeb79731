# SPDX-License-Identifier: MIT
"""Values from the user made into plain JSON values, at the border and not hours later when a file is written."""

import math
import os
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np

MAX_DEPTH = 32
"""Deepest nesting of lists and objects that is written or read."""

_MAX_BITS = 1024
_SHOWN_CHARACTERS = 120


def to_plain(value: Any, name: str) -> Any:
    """A deep copy of `value` as JSON has it; numpy scalars and arrays, paths and dates are converted.

    Raises:
        ValueError: it holds NaN, infinity or an integer of more than 1,024 bits, or is nested too deeply.
        TypeError: it holds something that JSON does not have. Tensors are refused too: reading one from a GPU
            would wait for the device, which only the caller may decide (``tensor.item()``).
    """
    return _to_plain(value, name, 0)


def plain_items(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """:func:`to_plain` of each value under its own key; `name` is what the whole is called.

    Raises:
        ValueError, TypeError: as :func:`to_plain`.
    """
    return {_key(key, name): to_plain(value, str(key)) for key, value in values.items()}


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
    if isinstance(value, str):  # subclasses become what they are at heart
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
    """`text` for a terminal or a report: control and other invisible characters escaped, and cut to `limit`."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)


def shown(value: Any) -> str:
    """`value` as error messages show it: its ``repr``, printable and short."""
    try:
        return printable(repr(value), _SHOWN_CHARACTERS)
    except (RecursionError, ValueError):  # nested too deeply, or an integer of more than 4,300 digits
        return f"a {type(value).__name__} that is too large to show"
