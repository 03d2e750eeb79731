# SPDX-License-Identifier: MIT
"""What the loader reads next: ranges of the shards that this process claims while it runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.embed.shard_queue import ShardQueue
from virnuc_profiler.inference.sequences.range_dataset import SequenceRange

CHUNK_TOKENS: Final = 131_072
"""Average tokens of a range, which is one message from a worker."""
MIN_CHUNK_TOKENS: Final = 16_384
"""Average tokens below which a message costs more than what it brings."""


class ShardSource:
    """Iterates over the ranges of one shard after the other, and claims the next shard when it is asked for more.

    The loader asks only as far ahead as its workers read, so the device never waits between two shards, and no shard
    is claimed long before it is run. The last range of a shard says that the collator packs what it holds, so a batch
    never has sequences of two shards: the vectors of a shard do not depend on the shards before it.

    Args:
        queue: Where shards are claimed.
        ahead: Number of ranges that the workers read ahead. A shard has at least as many, where they do not become too
            small, so that a process holds few shards that others could run.

    Attributes:
        claimed: Shards of which not all results were taken, the oldest first.
    """

    def __init__(self, queue: ShardQueue, ahead: int = 1) -> None:
        self._queue = queue
        self._ahead = ahead
        self._open = True
        self.claimed: deque[Shard] = deque()

    @property
    def closed(self) -> bool:
        """Whether no further shard is claimed."""
        return not self._open

    def close(self) -> None:
        """Claim no further shard; the shard that is being read is read to its end."""
        self._open = False

    def reopen(self) -> None:
        """Claim shards again, in the next iteration."""
        self._open = True

    def __iter__(self) -> Iterator[SequenceRange]:
        while self._open and (shard := self._queue.claim()) is not None:
            self.claimed.append(shard)
            yield from ranges_of(shard, self._ahead)


def ranges_of(shard: Shard, at_least: int = 1) -> Iterator[SequenceRange]:
    """Yield the ranges of a shard, of about equally many sequences.

    Args:
        shard: The shard.
        at_least: Number of ranges to yield where they do not become too small.
    """
    count = count_ranges(shard, at_least)
    bounds = [shard.start + number * shard.num_sequences // count for number in range(count + 1)]
    for start, stop in pairwise(bounds):
        yield SequenceRange(start, stop, flush=stop == shard.stop)


def count_ranges(shard: Shard, at_least: int = 1) -> int:
    """Return how many ranges a shard has.

    Args:
        shard: The shard.
        at_least: Number of ranges that it has where they do not become too small.
    """
    count = max(1, round(shard.tokens / CHUNK_TOKENS), min(at_least, shard.tokens // MIN_CHUNK_TOKENS))
    return min(count, shard.num_sequences)
