# SPDX-License-Identifier: MIT
"""Records from files of unknown origin: known keys are checked, unknown keys are kept aside."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, Final, TypeVar, cast, get_args, get_type_hints

import numpy as np

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.values import shown

LARGEST: Final = 1 << 62
"""Largest time or count: differences of two still fit 64 bits, and no clock reaches it in a century."""

Record = TypeVar("Record")
Known = Mapping[str, Any]
"""Known keys of an object. The value is another ``Known`` for an object or a list of objects, and None for the rest."""


def read_record(kind: type[Record], values: Any, name: str) -> Record:
    """Build a dataclass whose fields are numbers and strings from the JSON object that holds them.

    Fields with a default may be missing. Unknown keys are ignored here; see :func:`unknown_keys`.

    Args:
        kind: Dataclass to build.
        values: Value in the file, of any type.
        name: Name of that value in error messages, such as ``gpu.fast[3]``.

    Raises:
        TelemetryFormatError: `values` is not an object, or a field is missing or of another type.
    """
    if not isinstance(values, dict):
        raise TelemetryFormatError(f"{name} is {shown(values)}, must be an object")
    types, required = _form(cast("Hashable", kind))
    if missing := required - values.keys():
        raise TelemetryFormatError(f"{name} has no {min(missing)!r}")
    known = {key: value for key, value in values.items() if key in types}
    for key, value in known.items():
        require_type(value, types[key], f"{name}.{key}")
    return kind(**known)


def require_type(value: Any, types: tuple[type, ...], name: str) -> None:
    """Refuse a value of another type, or an integer of more than 62 bits.

    Args:
        value: Value in the file.
        types: Accepted types. ``float`` accepts integers too.
        name: Name of the value in the error message.

    Raises:
        TelemetryFormatError: The value has another type, or is too large.
    """
    kind = type(value)
    if kind is int:
        if not (int in types or float in types) or not -LARGEST <= value <= LARGEST:
            raise TelemetryFormatError(f"{name} is {shown(value)}, {_expected(types)}")
    elif kind not in types:
        raise TelemetryFormatError(f"{name} is {shown(value)}, {_expected(types)}")


def known_fields(kind: Any) -> Known:
    """Return the fields of a dataclass as known keys.

    Args:
        kind: Dataclass whose fields are numbers and strings.
    """
    return dict.fromkeys(_form(kind)[0])


def unknown_keys(values: Any, known: Known) -> dict[str, Any]:
    """Return the part of an object that this version does not know, in the same nesting.

    In a list of objects each one has its place; it is None where all of its keys are known.

    Args:
        values: Object in the file.
        known: Keys that this version knows.
    """
    unknown: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            unknown[key] = value
        elif known[key] is not None and isinstance(value, dict):
            if inside := unknown_keys(value, known[key]):
                unknown[key] = inside
        elif known[key] is not None and isinstance(value, list):
            entries = [unknown_keys(entry, known[key]) or None for entry in value if isinstance(entry, dict)]
            if any(entries):
                unknown[key] = entries
    return unknown


def with_unknown_keys(values: Mapping[str, Any], unknown: Mapping[str, Any]) -> dict[str, Any]:
    """Add what :func:`unknown_keys` returned to an object that is about to be written.

    Unknown columns of a table and unknown keys of a list's entries are left out if the number of rows has changed:
    nothing says which rows they belong to.

    Args:
        values: Object with the known keys.
        unknown: Unknown keys of the file that the object was read from.
    """
    merged = dict(values)
    table = bool(values) and all(isinstance(value, list | np.ndarray) for value in values.values())
    rows = len(next(iter(values.values()))) if table else 0
    for key, more in unknown.items():
        value = merged.get(key)
        if key not in values:
            if not (table and isinstance(more, list) and len(more) != rows):
                merged[key] = more
        elif isinstance(value, dict) and isinstance(more, dict):
            merged[key] = with_unknown_keys(value, more)
        elif isinstance(value, list | tuple) and isinstance(more, list) and len(value) == len(more):
            merged[key] = [with_unknown_keys(*pair) if pair[1] else pair[0] for pair in zip(value, more, strict=True)]
    return merged


def _expected(types: tuple[type, ...]) -> str:
    names = {type(None): "null", int: "a whole number of at most 62 bits"}
    return f"must be {' or '.join(names.get(kind, kind.__name__) for kind in types)}"


@cache
def _form(kind: Any) -> tuple[Mapping[str, tuple[type, ...]], frozenset[str]]:
    """Return the types of a dataclass's fields, and the names of the fields without a default."""
    hints = get_type_hints(kind)
    types = {field.name: get_args(hints[field.name]) or (hints[field.name],) for field in fields(kind)}
    return types, frozenset(field.name for field in fields(kind) if field.default is MISSING)
