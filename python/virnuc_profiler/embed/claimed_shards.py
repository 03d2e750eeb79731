# SPDX-License-Identifier: MIT
"""The queue of a job whose processes share its folder, and nothing else.

Every process makes the same plan and claims one shard after the other. No process hands out work, so none is missed
when it is lost, more may join at any time, and the same command again continues where all of them were killed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from virnuc_profiler.embed.manifest.finished_shards import FinishedShards
from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.errors import OutputError
from virnuc_profiler.ranks.claim_folder import ClaimFolder
from virnuc_profiler.ranks.rank import Rank

CLAIMS_FOLDER: Final = "claims"
SINGLE_NAME: Final = "0"
"""Name of a process that is alone."""

FIRST_PAUSE_S: Final = 0.2
MAX_PAUSE_S: Final = 5.0
"""Pauses between two looks at the shards that others hold, once there are no others. They grow, since the server of a
network file system answers many ranks."""


class ClaimedShards:
    """The shards of a job, each of which one process takes by a claim in the job's folder.

    The ranks begin at different places of the file, so that they do not compete for the same shard.

    Args:
        folder: Folder of the job.
        claims: Claims of this process.
        shards: All shards of the job, in the order of the file.
        rank: Which rank this process is.
        pause: Waits for some seconds. Tests replace it.
    """

    def __init__(
        self,
        folder: Path,
        claims: ClaimFolder,
        shards: Sequence[Shard],
        rank: Rank,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._claims = claims
        self._shards = tuple(shards)
        self._pause = pause
        self._finished = FinishedShards(folder)
        self._finished.refresh()
        first = (rank.index % rank.count) * len(shards) // rank.count
        order = (*shards[first:], *shards[:first])
        self._left = deque(shard for shard in order if shard.number not in self._finished)
        self._tokens = {shard.number: shard.tokens for shard in self._left}
        self._mine: set[int] = set()
        self._looked_at = time.monotonic()
        self._taken_over: Shard | None = None

    def claim(self) -> Shard | None:
        """Return the next shard that no other process holds; None if there is none at the moment.

        Raises:
            OutputError: The folder of the claims cannot be written, or a manifest cannot be read.
        """
        if self._taken_over is not None:
            shard, self._taken_over = self._taken_over, None
            return shard
        while self._left:
            shard = self._left.popleft()
            if self._take(shard):
                return shard
        return None

    def finished(self, shard: Shard) -> None:
        """No-op: the manifest of this process tells the others.

        Args:
            shard: A shard that is written and recorded.
        """

    def holds(self, shard: Shard) -> bool:
        """Return whether a shard is still this process's. Others may have taken those of a process that stood still.

        Args:
            shard: A shard that :meth:`claim` returned.
        """
        return self._claims.holds(_key(shard))

    def tokens_of_others(self) -> int:
        """Return the tokens of the shards that other ranks have finished since this queue began, some seconds ago."""
        now = time.monotonic()
        if now - self._looked_at > MAX_PAUSE_S:
            self._looked_at = now
            with suppress(OutputError):  # the next claim says what is wrong
                self._finished.refresh()
        return sum(
            tokens for number, tokens in self._tokens.items() if number in self._finished and number not in self._mine
        )

    def heartbeat(self) -> None:
        """Note progress, without which this process loses its claims in the end."""
        self._claims.note_progress()

    def wait(self) -> bool:
        """Wait until a shard of another process is free again, or all shards are finished.

        Shards that were finished when this queue began may be left again: another rank has found their files damaged.

        Returns:
            Whether :meth:`claim` returns a shard that this process has taken over.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            self._finished.refresh()
            left = [shard for shard in self._shards if shard.number not in self._finished]
            if not left:
                return False
            self._taken_over = next(filter(self._take, left), None)
            if self._taken_over is not None:
                return True
            self._claims.note_progress()
            self._pause(pause_s)
            pause_s = min(MAX_PAUSE_S, 1.5 * pause_s)

    def _take(self, shard: Shard) -> bool:
        if shard.number in self._finished or not self._claims.take(_key(shard)):
            return False
        self._finished.refresh()  # its holder may have finished it, and ended, since it was looked at last
        if shard.number in self._finished:
            return False
        self._mine.add(shard.number)
        return True


def _key(shard: Shard) -> str:
    return f"shard_{shard.number:06d}"


def unique_name(claims: ClaimFolder, rank: Rank) -> str:
    """Return a name for the files of this process that no other living process of the job has.

    Two starts of the same command on one folder have the same ranks, but not the same names.

    Args:
        claims: Claims of this process.
        rank: Which rank this process is.

    Raises:
        OutputError: The folder of the claims cannot be written.
    """
    name = SINGLE_NAME if rank.is_single else f"{rank.index}of{rank.count}"
    number = 1
    while not claims.take(key := name if number == 1 else f"{name}_{number}"):
        number += 1
    return key
