# SPDX-License-Identifier: MIT
"""A part of a workload that several ranks divide among themselves."""

from __future__ import annotations

from dataclasses import dataclass


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
