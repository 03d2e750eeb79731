# SPDX-License-Identifier: MIT
"""A job of several ranks as a simulation of events: free ranks claim the next shard, until none is left.

It claims as the ranks do. Each begins at its own place of the file, and takes the next shard that nobody has. A rank
whose loader reads ahead claims a shard before it has computed the one before, so that at the end of a job it holds work
that others could do.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple


class ShardWork(NamedTuple):
    """A shard, as far as its time matters.

    Attributes:
        seconds: Time that a rank of the usual pace computes it.
        sequences: Number of its sequences.
        ranges: Number of the ranges in which a loader reads it.
    """

    seconds: float
    sequences: int = 1
    ranges: int = 1


class RankPace(NamedTuple):
    """When a rank begins, and how fast it is.

    Attributes:
        begin_s: Time at which it claims its first shard.
        start_up_s: Time from then until it computes.
        slowness: Factor by which it takes longer than a rank of the usual pace.
    """

    begin_s: float = 0.0
    start_up_s: float = 0.0
    slowness: float = 1.0


class ReadAhead(NamedTuple):
    """How far a rank reads ahead of what it computes.

    Attributes:
        ranges: Ranges that its loader has asked for beyond those that were taken from it.
        buffer_size: Sequences that are taken at once, to be packed together.
    """

    ranges: int = 0
    buffer_size: int = 1


NOTHING_AHEAD: Final = ReadAhead()


@dataclass(frozen=True, slots=True)
class SimulatedRank:
    """What one rank did.

    Attributes:
        shards: Places of its shards in the job, in the order in which it ran them.
        claims_s: Time at which it claimed each of them.
        begin_s: Time at which it began.
        end_s: End of its last shard; `begin_s` if it found none.
        busy_s: Time in which it computed.
    """

    shards: tuple[int, ...]
    claims_s: tuple[float, ...]
    begin_s: float
    end_s: float
    busy_s: float


@dataclass(frozen=True, slots=True)
class SimulatedRun:
    """What all ranks did, in the terms of the report on a job of several ranks.

    Attributes:
        ranks: What each rank did.
    """

    ranks: tuple[SimulatedRank, ...]

    @property
    def seconds(self) -> float:
        """Time from the start of the first rank to the end of the last shard."""
        return max(rank.end_s for rank in self.ranks) - min(rank.begin_s for rank in self.ranks)

    @property
    def idle_s(self) -> float:
        """Time of all ranks after their last shards, until the last shard of the job is done."""
        last_s = max(rank.end_s for rank in self.ranks)
        return sum(last_s - rank.end_s for rank in self.ranks)

    @property
    def tail_share(self) -> float:
        """Share of the ranks' time after their last shards."""
        return self.idle_s / (len(self.ranks) * self.seconds) if self.seconds else 0.0


def simulate_ranks(
    shards: Sequence[ShardWork], paces: Sequence[RankPace], ahead: ReadAhead = NOTHING_AHEAD
) -> SimulatedRun:
    """Simulate a job from the start of its first rank to the end of its last shard.

    Args:
        shards: Shards that are left, in the order of the file.
        paces: When each rank begins, and how fast it is.
        ahead: How far each rank reads ahead.

    Raises:
        ValueError: There are no ranks.
    """
    if not paces:
        raise ValueError("there are no ranks to simulate: name at least one")
    free = _FreeShards(len(shards))
    ranks = [
        _Rank(pace, ahead, place * len(shards) // len(paces), pace.begin_s + pace.start_up_s)
        for place, pace in enumerate(paces)
    ]
    # Of ranks that ask at the same time, those that hold less come first, as if they asked in turn.
    asking = [(pace.begin_s, 0, place) for place, pace in enumerate(paces)]
    heapq.heapify(asking)
    while asking and free.left:
        now_s, held, place = heapq.heappop(asking)
        rank = ranks[place]
        rank.next_place = free.take(rank.next_place)
        rank.run(rank.next_place, shards[rank.next_place], now_s)
        heapq.heappush(asking, (max(now_s, rank.next_claim_s()), held + 1, place))
    return SimulatedRun(tuple(rank.outcome() for rank in ranks))


class _FreeShards:
    """The shards that no rank has claimed, found by walking around the file from any place."""

    def __init__(self, count: int) -> None:
        self._next = list(range(count))  # where to look: at the place itself while it is free
        self.left = count

    def take(self, place: int) -> int:
        """Claim the first free shard from a place on, around the end of the file, and return its place."""
        count = len(self._next)
        path = []
        place %= count
        while self._next[place] != place:
            path.append(place)
            place = self._next[place]
        for passed in path:
            self._next[passed] = place
        self.left -= 1
        if self.left:
            self._next[place] = (place + 1) % count
        return place


class _Held(NamedTuple):
    first_range: int
    start_s: float
    seconds: float
    shard: ShardWork


@dataclass(slots=True)
class _Rank:
    pace: RankPace
    ahead: ReadAhead
    next_place: int
    free_s: float
    held: list[_Held] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    claims_s: list[float] = field(default_factory=list)
    requested: int = 0
    busy_s: float = 0.0

    def run(self, place: int, shard: ShardWork, now_s: float) -> None:
        seconds = shard.seconds * self.pace.slowness
        start_s = max(now_s, self.free_s)
        self.held.append(_Held(self.requested, start_s, seconds, shard))
        self.places.append(place)
        self.claims_s.append(now_s)
        self.requested += shard.ranges
        self.free_s = start_s + seconds
        self.busy_s += seconds

    def next_claim_s(self) -> float:
        """Return when the loader asks for the first range after those that were claimed.

        It does so when it hands over the range that lies `ahead.ranges` before that one. Ranges are taken from it when
        sequences are packed, which is for a whole buffer at once.
        """
        handed_over = self.requested - self.ahead.ranges
        if handed_over >= self.requested:
            return self.free_s
        if handed_over < 0:
            return self.pace.begin_s
        held = next(held for held in reversed(self.held) if held.first_range <= handed_over)
        shard = held.shard
        sequence = (handed_over - held.first_range) * shard.sequences // shard.ranges
        packed_with = sequence - sequence % self.ahead.buffer_size
        return held.start_s + held.seconds * packed_with / shard.sequences

    def outcome(self) -> SimulatedRank:
        end_s = self.free_s if self.held else self.pace.begin_s
        return SimulatedRank(tuple(self.places), tuple(self.claims_s), self.pace.begin_s, end_s, self.busy_s)
