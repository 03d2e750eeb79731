# SPDX-License-Identifier: MIT
"""The pause between configurations."""

from typing import Final, Literal, TypeAlias

COOLDOWN_S: Final = 2.0
AUTO: Final = "auto"

Cooldown: TypeAlias = float | Literal["auto"]
"""Seconds to wait in full, or ``auto``: until the checks find nothing left, for at most COOLDOWN_S."""


def min_pause_s(cooldown_s: Cooldown) -> float:
    """Return the pause that an estimate of the remaining time counts."""
    return 0.0 if cooldown_s == AUTO else cooldown_s


def max_pause_s(cooldown_s: Cooldown) -> float:
    """Return the pause that a time limit must allow for."""
    return COOLDOWN_S if cooldown_s == AUTO else cooldown_s
