# SPDX-License-Identifier: MIT
"""JSON text of unknown origin into plain values, at a price in proportion to its length.

What Python's own reader lets pass is refused: NaN, numbers beyond the range of floating point, names that occur twice
in an object (readers differ in which they take), deep nesting, and swarms of tiny containers, each of which costs a
hundred times its text.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from virnuc_profiler.telemetry.values import MAX_DEPTH, shown

_BYTES_PER_CONTAINER: Final = 16
"""A telemetry record without any white space has 22 or more."""

_FREE_CONTAINERS: Final = 1 << 16


def parse_json(data: bytes) -> Any:
    """The values of a JSON text in UTF-8.

    An hour of telemetry takes about 4 times its text; no text takes more than 32 times its bytes, beside 20 MB.

    Raises:
        ValueError: it is not JSON, or is one of the things above.
    """
    containers = data.count(b"{") + data.count(b"[")
    if containers > _FREE_CONTAINERS + len(data) // _BYTES_PER_CONTAINER:
        raise ValueError(f"it has {containers:,} lists and objects in {len(data):,} bytes, too many to be read safely")
    try:
        document = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_distinct)
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep") from None
    require_plain(document)
    return document


def require_plain(document: Any) -> None:
    """Refuses deep nesting, and numbers like 1e999 that Python reads as infinity.

    Raises:
        ValueError: there is one of these.
    """
    level: list[Any] = [[document]]
    for _ in range(MAX_DEPTH + 2):
        below: list[Any] = []
        for container in level:
            for value in container.values() if isinstance(container, dict) else container:
                if isinstance(value, dict | list):
                    below.append(value)
                elif type(value) is float and not math.isfinite(value):
                    raise ValueError("it holds a number beyond the range of floating point")
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
