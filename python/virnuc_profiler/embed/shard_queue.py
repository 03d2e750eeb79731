# SPDX-License-Identifier: MIT
"""Where a process gets its shards from."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from virnuc_profiler.embed.shard_plan import Shard


class ShardQueue(Protocol):
    """The shards that are left, shared by all processes of a job.

    One process uses it from several threads: `claim`, `wait` and `heartbeat` are called by the thread that runs the
    batches, and `finished` and `holds` by threads that write files.
    """

    def claim(self) -> Shard | None:
        """Return the next shard for this process; None if there is none to take at the moment.

        It must answer at once, because batches are in flight while it is asked.
        """

    def finished(self, shard: Shard) -> None:
        """Note that a shard of this process is written and recorded.

        Args:
            shard: A shard that :meth:`claim` returned.
        """

    def holds(self, shard: Shard) -> bool:
        """Return whether a shard is still this process's. Another one may have taken it if this one stood still.

        Args:
            shard: A shard that :meth:`claim` returned.
        """

    def heartbeat(self) -> None:
        """Note that this process makes progress. Called after every batch, so it must cost next to nothing."""

    def wait(self) -> bool:
        """Wait until a shard can be claimed, such as one that another process has lost; False if none ever will be.

        Called when this process has finished all shards that it claimed.
        """


class LocalQueue:
    """The queue of a job with one process.

    Args:
        shards: Shards that are not finished, in the order in which they are to be run.
    """

    def __init__(self, shards: Iterable[Shard]) -> None:
        self._left = deque(shards)
        self._lock = threading.Lock()
        self._unfinished = len(self._left)

    def claim(self) -> Shard | None:
        """Return the next shard; None if there is none."""
        return self._left.popleft() if self._left else None

    def finished(self, shard: Shard) -> None:  # noqa: ARG002
        """Count a shard as finished.

        Args:
            shard: The shard.
        """
        with self._lock:
            self._unfinished -= 1

    def holds(self, shard: Shard) -> bool:  # noqa: ARG002
        """Return True: there is no other process.

        Args:
            shard: The shard.
        """
        return True

    def heartbeat(self) -> None:
        """No-op: no other process waits for this one."""

    def wait(self) -> bool:
        """Return False: shards that were claimed do not come back."""
        return False

    @property
    def unfinished(self) -> int:
        """Number of shards that are not finished."""
        return self._unfinished
