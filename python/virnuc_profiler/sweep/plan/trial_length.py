# SPDX-License-Identifier: MIT
"""How long a trial of a sweep measures, unless told otherwise. Imports nothing, so that ``--help`` answers at once."""

from __future__ import annotations

from typing import Final

TRIAL_SECONDS: Final = 3.0
"""Seconds after start-up in which a trial begins passes over its workload; at least one, and each to its end."""

PRECISION_TARGET: Final = 0.01
"""Relative half-width of the steady rate's interval at which a trial begins no further pass."""

BRIEF_SECONDS: Final = 1.0
"""TRIAL_SECONDS of a trial that is compared in blocks: more trials tell more than longer ones, because runs of one
configuration differ by more than their own intervals say."""


def brief_seconds(trial_seconds: float | None) -> float | None:
    """Return the seconds of a brief trial.

    Args:
        trial_seconds: Seconds of the other trials; None if they run their sequences once.
    """
    return None if trial_seconds is None else min(trial_seconds, BRIEF_SECONDS)
