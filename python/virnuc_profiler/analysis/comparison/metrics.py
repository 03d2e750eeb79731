# SPDX-License-Identifier: MIT
"""The metrics that are compared, and the words of their verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

HIGHER: Final = "higher"
LOWER: Final = "lower"
SAME: Final = "same"
CANNOT_TELL: Final = "cannot_tell"
DIRECTIONS: Final = (HIGHER, LOWER, SAME, CANNOT_TELL)

RATE: Final = "rate"
TIME: Final = "time"
AMOUNT: Final = "amount"

_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    RATE: {HIGHER: "FASTER", LOWER: "SLOWER"},
    TIME: {HIGHER: "SLOWER", LOWER: "FASTER"},
    AMOUNT: {HIGHER: "HIGHER", LOWER: "LOWER"},
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a run.

    Attributes:
        name: Name in files.
        label: Heading in tables, with the unit.
        kind: ``rate`` or ``time``, whose verdicts are FASTER and SLOWER, or ``amount``: HIGHER and LOWER.
        better: Direction of an amount that is better; None if neither is, or if the metric is a rate or a time.
        repeatable: Whether equal work gives equal values, so that a difference between two runs needs no repeats.
        digits: Smallest number of decimal places in tables.
        is_share: Whether the value is a share, which tables show in percent.
    """

    name: str
    label: str
    kind: str
    better: str | None = None
    repeatable: bool = False
    digits: int = 0
    is_share: bool = False

    def verdict(self, direction: str) -> str:
        """Return the word for a direction, such as ``SLOWER`` or ``CANNOT TELL``.

        Args:
            direction: How the candidate's value lies to the reference's, one of ``DIRECTIONS``.
        """
        return _WORDS[self.kind].get(direction, "SAME" if direction == SAME else "CANNOT TELL")

    def is_worse(self, direction: str) -> bool:
        """Return whether a direction is a regression: slower, or an amount that moved away from what is better.

        Args:
            direction: How the candidate's value lies to the reference's, one of ``DIRECTIONS``.
        """
        if direction not in (HIGHER, LOWER):
            return False
        if self.kind == AMOUNT:
            return self.better is not None and direction != self.better
        return self.verdict(direction) == "SLOWER"


STEADY: Final = Metric("steady_tokens_per_sec", "Steady tokens/s", RATE)
WHOLE_RUN: Final = Metric("tokens_per_sec", "Tokens/s", RATE)
START_UP: Final = Metric("start_up_seconds", "Start-up, s", TIME, digits=2)
PACKING: Final = Metric("packing_efficiency", "Packing", AMOUNT, HIGHER, repeatable=True, is_share=True)
MEMORY: Final = Metric("peak_memory_gb", "Peak memory, GB", AMOUNT, LOWER, repeatable=True, digits=2)
ENERGY: Final = Metric("joules_per_sequence", "J/sequence", AMOUNT, LOWER, digits=4)
DEVICE_SHARE: Final = Metric("device_share", "Device stages", AMOUNT, is_share=True)

METRICS: Final = (STEADY, WHOLE_RUN, START_UP, PACKING, MEMORY, ENERGY, DEVICE_SHARE)
"""All metrics in the order of tables. The first that both sides have decides the overall verdict."""

METRICS_BY_NAME: Final[Mapping[str, Metric]] = {metric.name: metric for metric in METRICS}
