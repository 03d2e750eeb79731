# SPDX-License-Identifier: MIT
"""One process of a job that several processes do together, each with a GPU of its own."""

from __future__ import annotations

from dataclasses import dataclass

SINGLE = "one process"


@dataclass(frozen=True, slots=True)
class Rank:
    """One of the processes that do a job together.

    Attributes:
        index: Number of this rank, which no other rank of the job has. It is below `count`, except in a Slurm array
            whose task ids are not evenly spaced.
        count: Number of ranks of the job.
        local_index: Number of this rank among those of its host, from 0.
        local_count: Number of ranks on this host.
        launcher: What started the ranks, in words, such as ``torchrun``.
        job: Id of the job at its launcher, which a new start of the same job does not have; empty if there is none.
        attempt: How often the launcher has started the ranks of this job again.
        owns_devices: Whether the launcher has given this rank its devices, so that others of its host see others.
    """

    index: int = 0
    count: int = 1
    local_index: int = 0
    local_count: int = 1
    launcher: str = SINGLE
    job: str = ""
    attempt: int = 0
    owns_devices: bool = False

    @property
    def is_single(self) -> bool:
        """Whether no other process works on the job."""
        return self.count == 1

    @property
    def name(self) -> str:
        """``rank0of2``: part of the names of files that are this rank's own."""
        return f"rank{self.index}of{self.count}"

    def __str__(self) -> str:
        return f"rank {self.index} of {self.count} ({self.launcher})"

    def file_name(self, name: str) -> str:
        """Return the name of a file of this rank: ``run_x_rank0of2.json`` for ``run_x.json``.

        Args:
            name: Name that the file has where there is only one rank. It then stays as it is.
        """
        if self.is_single:
            return name
        stem, dot, suffix = name.rpartition(".")
        return f"{stem}_{self.name}{dot}{suffix}" if dot else f"{name}_{self.name}"
