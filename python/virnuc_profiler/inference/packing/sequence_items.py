# SPDX-License-Identifier: MIT
"""Check plain sequences from users: (id, sequence) pairs, or mappings with the keys ``id`` and ``sequence``."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from virnuc_profiler.telemetry.values import shown

SequenceItem: TypeAlias = tuple[str, str] | Mapping[str, str]

_ACCEPTED = 'pass (id, sequence) pairs or {"id": ..., "sequence": ...} dicts, with strings for both'


def is_single_item(item: object) -> bool:
    """Return whether an item of a dataset stands for one sequence, as opposed to a collection of sequences."""
    if isinstance(item, Mapping | str | bytes) or not isinstance(item, Iterable):
        return True
    return isinstance(item, tuple) and len(item) == 2 and any(isinstance(part, str) for part in item)


def checked_pairs(items: Iterable[Any], first_position: int) -> list[tuple[str, str]]:
    """Return the identifier and the sequence of each item.

    Args:
        items: List or other iterable of sequence items.
        first_position: Position of the first item in its input, for messages.

    Raises:
        TypeError: `items` is a single item or not iterable, or an item is neither a pair of strings nor a mapping.
        ValueError: A mapping lacks a key, or a pair does not have two parts.
    """
    if isinstance(items, Mapping | str | bytes):
        raise TypeError(f"the collator got the single {_kind(items)} {shown(items)} instead of a list: {_ACCEPTED}")
    if not isinstance(items, Iterable):
        raise TypeError(f"the collator got {shown(items)}, which is not a list of sequences: {_ACCEPTED}")
    pairs = []
    for position, item in enumerate(items, first_position):
        if type(item) is tuple and len(item) == 2 and type(item[0]) is type(item[1]) is str:  # the usual form, fast
            pairs.append(item)
        else:
            pairs.append(_checked_pair(item, position))
    return pairs


def _checked_pair(item: Any, position: int) -> tuple[str, str]:
    if isinstance(item, Mapping):
        missing = [key for key in ("id", "sequence") if key not in item]
        if missing:
            raise ValueError(
                f"the dict at position {position} lacks the key {missing[0]!r}, {shown(item)}: {_ACCEPTED}"
            )
        name, sequence = item["id"], item["sequence"]
    elif isinstance(item, tuple | list):
        if len(item) != 2:
            raise ValueError(f"the item at position {position} has {len(item)} parts, {shown(item)}: {_ACCEPTED}")
        name, sequence = item
    else:
        raise TypeError(f"the item at position {position} is the {_kind(item)} {shown(item)}: {_ACCEPTED}")
    if not (isinstance(name, str) and isinstance(sequence, str)):
        part, value = ("id", name) if not isinstance(name, str) else ("sequence", sequence)
        raise TypeError(f"the {part} at position {position} is the {_kind(value)} {shown(value)}: {_ACCEPTED}")
    return name, sequence


def _kind(value: object) -> str:
    return "string" if isinstance(value, str) else type(value).__name__
