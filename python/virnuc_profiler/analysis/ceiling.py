# SPDX-License-Identifier: MIT
"""What a device reaches at best, as an analysis is told it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceCeiling:
    """What a large matrix product reaches on a device in one precision.

    Attributes:
        flops_per_second: sustained; None if it was not measured.
        sm_clock_mhz: of the SMs meanwhile; None if it is not known.
    """

    flops_per_second: float | None = None
    sm_clock_mhz: float | None = None
