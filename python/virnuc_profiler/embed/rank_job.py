# SPDX-License-Identifier: MIT
"""What a process needs to be one of the ranks of a job: its claims in the job's folder, and a name of its own."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final

from virnuc_profiler.embed.claimed_shards import CLAIMS_FOLDER, ClaimedShards, unique_name
from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.ranks.claim_folder import LEASE_S, ClaimFolder
from virnuc_profiler.ranks.rank import Rank

_CHECK: Final = "check"
_CHECKED: Final = "checked"


class JobRank:
    """A process that is one of the ranks of a job; ranks know of each other through the folder of the job alone.

    Args:
        folder: Folder of the job, which all its ranks see.
        rank: Which rank this process is.
        lease_s: Seconds without a sign of life after which a rank loses its shards to others.

    Attributes:
        folder: Folder of the job.
        rank: Which rank this process is.

    Raises:
        OutputError: The folder cannot be written.
    """

    def __init__(self, folder: Path, rank: Rank, lease_s: float = LEASE_S) -> None:
        self.rank = rank
        self.folder = folder
        self._claims = ClaimFolder(folder / CLAIMS_FOLDER, rank, lease_s)

    @cached_property
    def name(self) -> str:
        """Name of this process for its files, which no other living process of the job has.

        Raises:
            OutputError: The folder cannot be written.
        """
        return unique_name(self._claims, self.rank)

    def queue(self, shards: tuple[Shard, ...]) -> ClaimedShards:
        """Return the queue of the job's shards.

        Args:
            shards: All shards of the job.
        """
        return ClaimedShards(self.folder, self._claims, shards, self.rank)

    def has_device(self, uuid: str) -> bool:
        """Return whether no other living rank of the job computes on a GPU.

        Args:
            uuid: UUID of the GPU.

        Raises:
            OutputError: The folder cannot be written.
        """
        return self._claims.take(f"device_{uuid}")

    def checks(self) -> bool:
        """Return whether this process is to check the job at its end, since one that does so is enough.

        Raises:
            OutputError: The folder cannot be written.
        """
        return self._claims.take(_CHECK) and not self._claims.was_noted(_CHECKED)

    def note_check(self) -> None:
        """Tell the other ranks that this process has checked the job, and found it complete.

        Raises:
            OutputError: The folder cannot be written.
        """
        self._claims.note(_CHECKED)

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
