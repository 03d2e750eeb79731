# SPDX-License-Identifier: MIT
"""What a projection is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from virnuc_profiler.analysis.model_cost import ModelShape
from virnuc_profiler.analysis.projection.job_time import Pace
from virnuc_profiler.analysis.projection.length_strata import LengthStrata


@dataclass(frozen=True, slots=True)
class Source:
    """What a projection is made from.

    Attributes:
        path: File that was read.
        name: What was measured, in words.
        pace: How fast it was.
        measured: Lengths of the sequences that were done.
        lengths: Lengths of the sequences of the workload.
        shape: Shape of the model; None if it is unknown.
        stratified: Whether `lengths` have their shares by construction.
        workload: The workload, as the run's metadata or the sweep's conditions have it.
        before_s: Seconds from the start of the process to that of the run: imports, and loading the model; None if they
            are unknown, or if the process had other runs before.
        watts: Mean power of the device during the run; None if it was not measured.
    """

    path: Path
    name: str
    pace: Pace
    measured: LengthStrata
    lengths: LengthStrata
    shape: ModelShape | None = None
    stratified: bool = False
    workload: Mapping[str, Any] = field(default_factory=dict)
    before_s: float | None = None
    watts: float | None = None
