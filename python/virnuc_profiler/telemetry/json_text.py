# SPDX-License-Identifier: MIT
"""A JSON parser for text of unknown origin, whose time and memory are proportional to the length of the text.

It refuses what Python's parser accepts: NaN, numbers beyond the range of floating point, duplicate names in an object
(parsers differ in which one they keep), deep nesting, and masses of tiny containers, each of which takes a hundred
times the memory of its text.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from virnuc_profiler.telemetry.values import MAX_DEPTH, shown

_BYTES_PER_CONTAINER: Final = 16
"""Minimum length of text per container. A telemetry record without white space has 22 bytes or more."""

_FREE_CONTAINERS: Final = 1 << 16


def parse_json(data: bytes) -> Any:
    """Parse a JSON text into plain values.

    The values of a telemetry file take about 4 times the memory of its text. No text takes more than 32 times its
    length plus 20 MB.

    Args:
        data: JSON text in UTF-8.

    Raises:
        ValueError: The text is not JSON, or has one of the properties that this module refuses.
    """
    containers = data.count(b"{") + data.count(b"[")
    if containers > _FREE_CONTAINERS + len(data) // _BYTES_PER_CONTAINER:
        raise ValueError(f"it has {containers:,} lists and objects in {len(data):,} bytes, too many to read safely")
    try:
        document = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_distinct)
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep") from None
    require_plain(document)
    return document


def require_plain(document: Any) -> None:
    """Refuse deep nesting, and numbers such as 1e999, which Python parses as infinity.

    Args:
        document: Parsed JSON values.

    Raises:
        ValueError: The document is nested too deeply, or contains such a number.
    """
    level: list[Any] = [[document]]
    for _ in range(MAX_DEPTH + 2):
        below: list[Any] = []
        for container in level:
            for value in container.values() if isinstance(container, dict) else container:
                if isinstance(value, dict | list):
                    below.append(value)
                elif type(value) is float and not math.isfinite(value):
                    raise ValueError("it contains a number beyond the range of floating point")
        if not below:
            return
        level = below
    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in values if names.count(name) > 1)
        raise ValueError(f"an object has the name {shown(twice)} twice")
    return values
