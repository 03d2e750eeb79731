# SPDX-License-Identifier: MIT
"""The choice of the best among measured configurations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

THROTTLED: Final = "throttled"
CONTAMINATED: Final = "contaminated"


@dataclass(frozen=True, slots=True)
class Selection:
    """What was chosen.

    Attributes:
        best: the result chosen; None if no successful one has a rate.
        constraint_met: whether it keeps the constraint on packing; where none does, the best without it is
            chosen and this is False. True without a constraint.
    """

    best: Mapping[str, Any] | None
    constraint_met: bool


def select_best(
    results: Sequence[Mapping[str, Any]], min_packing: float | None = None, *, key: str = "sequences_per_sec"
) -> Selection:
    """The successful result with the highest `key`; among equals the first, which is the order of the grid.

    One that was throttled is chosen only among results that all were: what it would do on a cool card is not known.

    Args:
        results: with ``status``, `key` and, for the constraint, ``packing_efficiency``. A value that is None or
            not finite never wins, and never keeps the constraint.
        min_packing: lowest packing efficiency that is wanted, 0 to 1.
        key: what is compared.
    """
    candidates = [result for result in results if result.get("status") == "success" and _is_number(result.get(key))]
    candidates = [result for result in candidates if not is_throttled(result)] or candidates
    if not candidates:
        return Selection(best=None, constraint_met=False)
    if min_packing is None:
        return Selection(best=_first_highest(candidates, key), constraint_met=True)
    packed = [
        result
        for result in candidates
        if _is_number(result.get("packing_efficiency")) and result["packing_efficiency"] >= min_packing
    ]
    return Selection(best=_first_highest(packed or candidates, key), constraint_met=bool(packed))


def is_throttled(result: Mapping[str, Any]) -> bool:
    """Whether heat or a power brake held the device down while it was measured."""
    return result.get("outcome") == THROTTLED


def _first_highest(results: Sequence[Mapping[str, Any]], key: str) -> Mapping[str, Any]:
    return max(results, key=lambda result: float(result[key]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
