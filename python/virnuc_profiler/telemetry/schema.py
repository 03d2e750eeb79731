# SPDX-License-Identifier: MIT
"""The shipped JSON Schema of telemetry files, and fast checks made from it.

The schema is the one place that knows each key's type and range. ``jsonschema`` needs about 0.5 ms for a batch
record, which a file of 100,000 batches multiplies to a minute, so records are checked by closures compiled from
the schema's own definitions; the tests hold both against each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from virnuc_profiler.telemetry.values import shown

SCHEMA_VERSION = "1.0"

Check = Callable[[Any], "tuple[str, Any, str] | None"]
"""Returns None, or what is wrong: the JSON path below the value, the value there, and what it must be."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "string": (str,),
    "object": (dict,),
    "array": (list,),
    "number": (int, float),
    "integer": (int,),
}
_ANNOTATIONS = {"description", "properties"}
_KEYWORDS = {"type", "enum", "minimum", "maximum", "additionalProperties", "items"}


@cache
def telemetry_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of telemetry files, as it ships with the package. Do not change it."""
    text = Path(__file__).with_name("telemetry_schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def key_checks(definition: str) -> Mapping[str, Check]:
    """Fast checks of the known keys of one of the schema's objects.

    Args:
        definition: ``batch`` or ``summary``.
    """
    properties = telemetry_schema()["$defs"][definition]["properties"]
    return {key: compile_check(schema) for key, schema in properties.items()}


def require_known_keys(definition: str, values: Mapping[str, Any]) -> None:
    """Checks the known keys among `values`, which are plain JSON values.

    Raises:
        ValueError: one has a value of another type or out of range; the message names key and value.
    """
    problem = find_problem(definition, values)
    if problem is not None:
        path, value, expected = problem
        raise ValueError(f"{path} is {shown(value)}; it must be {expected}")


def find_problem(definition: str, values: Mapping[str, Any]) -> tuple[str, Any, str] | None:
    """The first known key among `values` that does not fit the schema: its path, its value, what it must be."""
    checks = key_checks(definition)
    for key, value in values.items():
        check = checks.get(key)
        if check is not None and (problem := check(value)) is not None:
            return key + problem[0], problem[1], problem[2]
    return None


def compile_check(schema: Mapping[str, Any]) -> Check:
    """Makes a check, for plain JSON values, of the keywords that the known keys use.

    Raises:
        NotImplementedError: the schema uses another keyword; without this it would be ignored in silence.
    """
    schema = _resolved(schema)
    unknown = schema.keys() - _KEYWORDS - _ANNOTATIONS
    if unknown:
        raise NotImplementedError(f"the schema's keyword {sorted(unknown)} has no fast check")
    expected = _expectation(schema)
    if "enum" in schema:
        return _enum_check(schema["enum"], expected)
    names = _type_names(schema)
    kinds = frozenset(kind for name in names for kind in _TYPES[name])
    integral = "integer" in names
    low, high = schema.get("minimum"), schema.get("maximum")
    members = schema.get("additionalProperties", schema.get("items"))
    check_member = None if members is None else compile_check(members)

    def check(value: Any) -> tuple[str, Any, str] | None:
        kind = type(value)  # plain values have no subclasses, and so True is no number
        if kind not in kinds and not (integral and kind is float and value.is_integer()):
            return "", value, expected
        if kind is int or kind is float:
            if value != value or (low is not None and value < low) or (high is not None and value > high):
                return "", value, expected
        elif check_member is not None and (kind is dict or kind is list):
            for key, member in value.items() if kind is dict else enumerate(value):
                if (problem := check_member(member)) is not None:
                    return f"[{shown(key)}]{problem[0]}", problem[1], problem[2]
        return None

    return check


def _enum_check(choices: list[Any], expected: str) -> Check:
    allowed = tuple(choices)

    def check(value: Any) -> tuple[str, Any, str] | None:
        if (value is None or isinstance(value, str)) and value in allowed:
            return None
        return "", value, expected

    return check


def _resolved(schema: Mapping[str, Any]) -> dict[str, Any]:
    resolved = {key: value for key, value in schema.items() if key != "$ref"}
    if "$ref" in schema:
        definition = schema["$ref"].removeprefix("#/$defs/")
        resolved = {**_resolved(telemetry_schema()["$defs"][definition]), **resolved}
    return resolved


def _type_names(schema: Mapping[str, Any]) -> list[str]:
    names = schema["type"]
    return [names] if isinstance(names, str) else list(names)


def _expectation(schema: Mapping[str, Any]) -> str:
    """In words: ``a number from 0 to 100, or None if it was not measured``."""
    if "enum" in schema:
        return "one of " + ", ".join(repr(choice) for choice in schema["enum"])
    names = _type_names(schema)
    words = " or ".join(_WORDS[name] for name in names if name != "null")
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        words += f" of {low} or more" if high > 1e18 else f" from {low} to {high}"
    return words + (", or None if it was not measured" if "null" in names else "")


_WORDS = {
    "boolean": "True or False",
    "string": "a string",
    "object": "a mapping from names to numbers",
    "array": "a list of strings",
    "number": "a finite number",
    "integer": "a whole number",
}
