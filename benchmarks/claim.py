# SPDX-License-Identifier: MIT
"""Compare a claim with a measurement. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim. `holds` is None if it could not be measured."""

    text: str
    measured: str
    holds: bool | None

    @property
    def verdict(self) -> str:
        """Return the verdict as a word."""
        return {True: "PASS", False: "FAIL", None: "n/a"}[self.holds]


def at_least(text: str, measured: float | None, bound: float, shown: str) -> Claim:
    """Make the claim that a figure reaches a bound. `shown` is the format of the figure."""
    if measured is None:
        return Claim(text, "n/a", None)
    return Claim(text, shown.format(measured), measured >= bound)
