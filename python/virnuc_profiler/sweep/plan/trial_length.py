# SPDX-License-Identifier: MIT
"""How long a trial of a sweep measures, unless told otherwise. Imports nothing, so that ``--help`` answers at once."""

from __future__ import annotations

from typing import Final

TRIAL_SECONDS: Final = 3.0
"""Seconds after start-up in which a trial begins passes over its workload; at least one, and each to its end."""

PRECISION_TARGET: Final = 0.01
"""Relative half-width of the steady rate's interval at which a trial begins no further pass."""
