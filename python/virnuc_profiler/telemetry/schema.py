# SPDX-License-Identifier: MIT
"""The JSON Schema of telemetry files, and fast checks compiled from it.

The schema alone defines each key's type and range. ``jsonschema`` takes about 0.5 ms for a batch record, or a minute
for a file of 100,000 batches, so records are checked by closures compiled from the schema. A property test compares
the two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from virnuc_profiler.telemetry.values import shown

Check = Callable[[Any], "tuple[str, Any, str] | None"]
"""Returns None, or the first problem: its JSON path below the value, the value there, and what it must be."""

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
    """Return the JSON Schema (draft 2020-12) of telemetry files. The dictionary is shared: do not modify it."""
    text = Path(__file__).with_name("telemetry_schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def key_checks(definition: str) -> Mapping[str, Check]:
    """Return a fast check for each known key of an object.

    Args:
        definition: Name of the object in the schema: ``batch`` or ``summary``.
    """
    properties = telemetry_schema()["$defs"][definition]["properties"]
    return {key: compile_check(schema) for key, schema in properties.items()}


def require_known_keys(definition: str, values: Mapping[str, Any]) -> None:
    """Check the known keys of an object; other keys are ignored.

    Args:
        definition: Name of the object in the schema: ``batch`` or ``summary``.
        values: The object, as plain JSON values.

    Raises:
        ValueError: A value has the wrong type or is out of range. The message names the key and the value.
    """
    problem = find_problem(definition, values)
    if problem is not None:
        path, value, expected = problem
        raise ValueError(f"{path} is {shown(value)}; it must be {expected}")


def find_problem(definition: str, values: Mapping[str, Any]) -> tuple[str, Any, str] | None:
    """Return the first known key that does not fit the schema: its path, its value, and what it must be.

    Args:
        definition: Name of the object in the schema: ``batch`` or ``summary``.
        values: The object, as plain JSON values.
    """
    checks = key_checks(definition)
    for key, value in values.items():
        check = checks.get(key)
        if check is not None and (problem := check(value)) is not None:
            return key + problem[0], problem[1], problem[2]
    return None


def compile_check(schema: Mapping[str, Any]) -> Check:
    """Compile a schema into a check for plain JSON values.

    Args:
        schema: Schema of one key, using only the keywords that this module knows.

    Raises:
        NotImplementedError: The schema uses another keyword, which would silently have no effect.
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
        kind = type(value)  # exact types: True is not a number
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
    """Describe a schema in words: ``a finite number from 0 to 100, or None if it was not measured``."""
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
