# SPDX-License-Identifier: MIT
"""Mutate JSON: the same document with a value that is hostile, of another type, or missing."""

import json
import random
from typing import Any


class Raw(str):
    """Text to insert into the document verbatim."""


ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 0.5, -0.0, 100.5, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**30, 10**400,
    Raw("1e400"), Raw("-1e400"), Raw("1e308"), Raw("5e-324"), Raw("NaN"), Raw("9" * 5000), Raw("[" * 40 + "]" * 40),
    Raw("[" * 3000), Raw('{"a":1,"a":2}'), Raw('"\\ud800"'), Raw('"\\u0000"'), "", "x", "full", "success",
    "\x1b[31mred", "\u202egnp", "a\nb", "\x9b2J", "long " * 200, "é\U0001f9ec", [], {}, [[]], {"": {}}, [1, "a", None],
)  # fmt: skip


def mutate_json(data: bytes, source: random.Random) -> bytes:
    """Apply one change to a document; text that is not JSON is returned unchanged."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return data
    try:
        return dump(_changed(document, source)).encode("utf-8", errors="surrogatepass")
    except RecursionError:
        return data


def dump(value: Any) -> str:
    """Return the document as text, with raw text inserted."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(key))}:{dump(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dump, value)) + "]"
    return json.dumps(value)


def _changed(value: Any, source: random.Random) -> Any:
    """Descend to a random place and change its value."""
    if isinstance(value, dict | list) and value and source.random() < 0.85:
        key = source.choice(list(value)) if isinstance(value, dict) else source.randrange(len(value))
        changed: Any = dict(value) if isinstance(value, dict) else list(value)
        kind = source.random()
        if kind < 0.1:
            del changed[key]
        elif kind < 0.15 and isinstance(changed, dict):
            changed[str(source.choice(ODD))] = changed[key]
        elif kind < 0.2 and isinstance(changed, list):
            changed += changed[: source.choice([1, 10, 100])]
        else:
            changed[key] = _changed(value[key], source)
        return changed
    return source.choice(ODD)
