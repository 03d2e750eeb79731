# SPDX-License-Identifier: MIT
"""What a process needs to be one of the ranks of a job: its claims in the job's folder, and a name of its own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Final

from virnuc_profiler.embed.claimed_shards import CLAIMS_FOLDER, ClaimedShards, unique_name
from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.ranks.claim_folder import LEASE_S, ClaimFolder
from virnuc_profiler.ranks.rank import Rank

_CHECK: Final = "check"


class JobRank:
    """A process that is one of the ranks of a job; ranks know of each other through the folder of the job alone.

    Args:
        folder: Folder of the job, which all its ranks see.
        rank: Which rank this process is.
        lease_s: Seconds without a sign of life after which a rank loses its shards to others.

    Attributes:
        rank: Which rank this process is.
        name: Name of this process, which no other living process of the job has.

    Raises:
        OutputError: The folder cannot be written.
    """

    def __init__(self, folder: Path, rank: Rank, lease_s: float = LEASE_S) -> None:
        self.rank = rank
        self._folder = folder
        self._claims = ClaimFolder(folder / CLAIMS_FOLDER, rank, lease_s)
        self.name = unique_name(self._claims, rank)

    def queue(self, shards: tuple[Shard, ...]) -> ClaimedShards:
        """Return the queue of the job's shards.

        Args:
            shards: All shards of the job.
        """
        return ClaimedShards(self._folder, self._claims, shards, self.rank)

    def has_device(self, uuid: str) -> bool:
        """Return whether no other living rank of the job computes on a GPU.

        Args:
            uuid: UUID of the GPU.

        Raises:
            OutputError: The folder cannot be written.
        """
        return self._claims.take(f"device_{uuid}")

    def checks(self) -> bool:
        """Return whether this process is the one that checks the job at its end: the first of its ranks that asks.

        Raises:
            OutputError: The folder cannot be written.
        """
        if not self._claims.take(_CHECK):
            return False
        if self.rank.is_single:
            return True
        launch = hashlib.sha256(f"{self.rank.job} {self.rank.attempt}".encode()).hexdigest()[:16]
        return self._claims.is_first(f"{_CHECK}_{launch}")

    def close(self, *, complete: bool = False) -> None:
        """Give up what this process has claimed.

        Args:
            complete: Whether the job is complete, so that the claims of a process that is alone can be removed.
        """
        if complete and self.rank.is_single:
            self._claims.remove()
        else:
            self._claims.close()

    def __enter__(self) -> JobRank:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
