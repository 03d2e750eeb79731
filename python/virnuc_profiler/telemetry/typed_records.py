# SPDX-License-Identifier: MIT
"""Records out of a file of unknown origin: every field is there, of its type, and no other is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, Final, TypeVar, cast, get_args, get_type_hints

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.values import shown

LARGEST: Final = 1 << 62
"""Of a time or count: differences of two still fit 64 bits, and no clock gets there in a century."""

Record = TypeVar("Record")


def read_record(kind: type[Record], values: Any, name: str) -> Record:
    """The record of a dataclass whose fields are numbers and strings.

    Args:
        kind: the dataclass.
        values: what the file has in its place.
        name: what that is called, for messages.

    Raises:
        TelemetryFormatError: a field is missing, unknown or of another type.
    """
    if not isinstance(values, dict):
        raise TelemetryFormatError(f"{name} is {shown(values)}, not an object")
    types, required = _form(cast("Hashable", kind))
    if unknown := values.keys() - types.keys():
        raise TelemetryFormatError(f"{name} has the unknown key {shown(min(unknown))}")
    if missing := required - values.keys():
        raise TelemetryFormatError(f"{name} has no {min(missing)!r}")
    for key, value in values.items():
        require_type(value, types[key], f"{name}.{key}")
    return kind(**values)


def require_type(value: Any, types: tuple[type, ...], name: str) -> None:
    """Refuses a value that is none of these types, or a whole number that is too large.

    Raises:
        TelemetryFormatError: it is one.
    """
    kind = type(value)
    if kind is int:
        if not (int in types or float in types) or not -LARGEST <= value <= LARGEST:
            raise TelemetryFormatError(f"{name} is {shown(value)}, {_expected(types)}")
    elif kind not in types:
        raise TelemetryFormatError(f"{name} is {shown(value)}, {_expected(types)}")


def _expected(types: tuple[type, ...]) -> str:
    names = [{type(None): "null", int: "a whole number of at most 62 bits"}.get(kind, kind.__name__) for kind in types]
    return f"must be {' or '.join(names)}"


@cache
def _form(kind: Any) -> tuple[Mapping[str, tuple[type, ...]], frozenset[str]]:
    """Types of the fields, and the names of those without a default."""
    hints = get_type_hints(kind)
    types = {field.name: get_args(hints[field.name]) or (hints[field.name],) for field in fields(kind)}
    return types, frozenset(field.name for field in fields(kind) if field.default is MISSING)
