# SPDX-License-Identifier: MIT
"""What must be known of a target to plan a sweep of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from virnuc_profiler.errors import UsageError
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, KnobSet


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What must be known of a target to plan a sweep of it.

    Attributes:
        knobs: Its knobs.
        has_packing_rule: Whether the best configuration must reach a packing efficiency.
        min_packing: Packing efficiency that the target names for that; None for the usual one.
        has_probe: Whether it can tell how much device memory batches take.
    """

    knobs: KnobSet
    has_packing_rule: bool = True
    min_packing: float | None = None
    has_probe: bool = True

    def usual_packing(self, usual: float) -> float | None:
        """Return the packing efficiency that is required by default; None if the target has no such rule.

        Args:
            usual: What is required of targets that name nothing.
        """
        if not self.has_packing_rule:
            return None
        return usual if self.min_packing is None else self.min_packing

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TargetFacts:
        """Read ``knobs``, ``has_probe`` and, only if the target has one, ``min_packing``.

        Args:
            values: The JSON.

        Raises:
            UsageError: The packing efficiency is none.
            TelemetryFormatError: The knobs cannot be read.
        """
        knobs, min_packing = KnobSet.from_json(values["knobs"]), values.get("min_packing")
        if min_packing is not None and not (isinstance(min_packing, int | float) and 0 <= min_packing <= 1):
            raise UsageError(
                f"min_packing of {knobs.target} is {min_packing!r}; it must be a share from 0 to 1, or None for no rule"
            )
        has_rule = "min_packing" not in values or min_packing is not None
        return cls(knobs, has_rule, min_packing, bool(values.get("has_probe")))


BUILTIN_FACTS: Final = TargetFacts(BUILTIN_KNOBS)
