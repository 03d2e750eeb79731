# SPDX-License-Identifier: MIT
"""Selection of the best of the measured configurations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

THROTTLED: Final = "throttled"
CONTAMINATED: Final = "contaminated"


@dataclass(frozen=True, slots=True)
class Selection:
    """A selected result.

    Attributes:
        best: The selected result; None if no successful result has a rate.
        constraint_met: Whether `best` meets the constraint on packing efficiency. False if no result meets it, in which
            case `best` ignores it. True without a constraint.
    """

    best: Mapping[str, Any] | None
    constraint_met: bool


def select_best(
    results: Sequence[Mapping[str, Any]], min_packing: float | None = None, *, key: str = "sequences_per_sec"
) -> Selection:
    """Select the successful result with the highest value of a key; the first one among equals.

    A throttled result is selected only if all successful results were throttled, because its rate on a cool device is
    unknown.

    Args:
        results: Results with ``status``, `key` and, for the constraint, ``packing_efficiency``. Values that are None
            or not finite are never selected and never meet the constraint.
        min_packing: Minimum packing efficiency, 0 to 1; None for no constraint.
        key: Key to compare.
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
    """Whether heat or a power brake lowered the device's clocks during the measurement.

    Args:
        result: Result of a configuration.
    """
    return result.get("outcome") == THROTTLED


def _first_highest(results: Sequence[Mapping[str, Any]], key: str) -> Mapping[str, Any]:
    return max(results, key=lambda result: float(result[key]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
