# SPDX-License-Identifier: MIT
"""A part of a workload that several ranks divide among themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class WorkloadPart:
    """One of several parts of a workload, each of which another rank runs.

    Attributes:
        index: Number of the part, from 0.
        count: Number of parts.
        whole: Number of sequences of all parts.
    """

    index: int
    count: int
    whole: int

    @property
    def suffix(self) -> str:
        """``_rank0of2``: what the names of a run and of its files have, so that no two ranks write one file."""
        return f"_rank{self.index}of{self.count}"


def suffix_of_part(workload: Mapping[str, Any]) -> str:
    """Return the suffix of a run's name, from what the run says of its workload; empty if it is not divided.

    Args:
        workload: Description of the workload in the run's metadata.
    """
    part = workload.get("part")
    return "" if part is None else WorkloadPart(**part).suffix
