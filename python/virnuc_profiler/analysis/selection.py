# SPDX-License-Identifier: MIT
"""The selection of the best among measured configurations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

THROTTLED: Final = "throttled"
CONTAMINATED: Final = "contaminated"
INTERRUPTED: Final = "interrupted"


class Rated(Protocol):
    """A measurement that can be compared with others."""

    @property
    def succeeded(self) -> bool:
        """Whether it was measured to the end."""

    @property
    def throttled(self) -> bool:
        """Whether heat or a power brake held the device down meanwhile."""

    @property
    def interrupted(self) -> bool:
        """Whether it was stopped meanwhile, so that its rate says nothing."""

    @property
    def sequences_per_sec(self) -> float | None:
        """Sequences per second; None if it was not measured."""

    @property
    def packing_efficiency(self) -> float | None:
        """Packing efficiency, 0 to 1; None if it was not measured."""


R = TypeVar("R", bound=Rated)


@dataclass(frozen=True, slots=True)
class Selection(Generic[R]):
    """What was selected.

    Attributes:
        best: The selected measurement; None if no successful one has a rate.
        constraint_met: Whether `best` reaches the required packing efficiency; True if none is required.
    """

    best: R | None
    constraint_met: bool


def select_best(
    measured: Sequence[R],
    min_packing: float | None = None,
    *,
    cost: Callable[[R], float | None] | None = None,
    fits: Callable[[R], bool] | None = None,
) -> Selection[R]:
    """Select the successful measurement with the lowest cost; among equals the first, in the order of the grid.

    A throttled measurement is selected only if all successful ones were throttled: its rate on a cool device is not
    known. An interrupted measurement is never selected.

    Args:
        measured: Measurements. A cost or packing efficiency that is None or not finite never wins.
        min_packing: Required packing efficiency, 0 to 1; if none reaches it, the best without it is selected.
        cost: Returns what is to be small; None for the time of a sequence.
        fits: Returns whether a measurement keeps the limit of memory; if none does, the best without it is selected.
            None for no limit.
    """
    cost = cost or _seconds_per_sequence
    candidates = [one for one in measured if one.succeeded and not one.interrupted and _is_finite(cost(one))]
    candidates = [one for one in candidates if not one.throttled] or candidates
    if not candidates:
        return Selection(best=None, constraint_met=False)
    fitting = [one for one in candidates if fits is None or fits(one)]
    pool = fitting or candidates
    packed = [one for one in pool if min_packing is None or _reaches(one.packing_efficiency, min_packing)]
    best = min(packed or pool, key=lambda one: cost(one) or 0.0)
    return Selection(best, constraint_met=bool(fitting and packed))


def _seconds_per_sequence(one: Rated) -> float | None:
    rate = one.sequences_per_sec
    return 1 / rate if rate is not None and math.isfinite(rate) and rate > 0 else None


def _reaches(packing_efficiency: float | None, min_packing: float) -> bool:
    return packing_efficiency is not None and math.isfinite(packing_efficiency) and packing_efficiency >= min_packing


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
