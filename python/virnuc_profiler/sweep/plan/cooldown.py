# SPDX-License-Identifier: MIT
"""The pause between configurations."""

from typing import Final, Literal, TypeAlias

COOLDOWN_S: Final = 2.0
AUTO: Final = "auto"

Cooldown: TypeAlias = float | Literal["auto"]
"""Seconds that are waited in full; or ``auto``: until the checks find nothing left, for COOLDOWN_S at most."""


def shortest_pause_s(cooldown_s: Cooldown) -> float:
    """What an estimate of the time that is left can count with."""
    return 0.0 if cooldown_s == AUTO else cooldown_s


def longest_pause_s(cooldown_s: Cooldown) -> float:
    """What a time limit must allow for."""
    return COOLDOWN_S if cooldown_s == AUTO else cooldown_s
