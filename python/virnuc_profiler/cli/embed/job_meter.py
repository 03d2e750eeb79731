# SPDX-License-Identifier: MIT
"""How far an embed job is in this process: rates of the last minute, and the time left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from virnuc_profiler.embed.rank_worker import RankListener
from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.sweep.plan.estimate import in_words
from virnuc_profiler.telemetry.number_text import number

_WINDOW_S: Final = 60.0
"""The rate is that of the last minute, so that a job that was slow for a while is not predicted by it for hours."""
_STEP_S: Final = 1.0


class JobMeter(RankListener):
    """Counts what is done, and tells the rate and the time left.

    Args:
        tokens: Tokens of the shards that are left.
        shards: Number of these shards.
        clock: Returns monotonic seconds.
        others: Returns the tokens of these shards that other processes have finished.
        ranks: Number of processes that work on them.
        window_s: Seconds of which the rate is the mean.

    Attributes:
        total_tokens: Tokens of the shards that were left.
        total_shards: Number of these shards.
        shards_written: Number of them that this process has written.
        batches: Number of batches that this process has done.
    """

    def __init__(
        self,
        tokens: int,
        shards: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        others: Callable[[], int] = lambda: 0,
        ranks: int = 1,
        window_s: float = _WINDOW_S,
    ) -> None:
        self.total_tokens = tokens
        self.total_shards = shards
        self._clock = clock
        self._others = others
        self._ranks = ranks
        self._window_s = window_s
        self._began = clock()
        self._points: deque[tuple[float, int, int]] = deque()
        self._last = (self._began, 0, 0)
        self.shards_written = 0
        self.batches = 0

    @property
    def share(self) -> float:
        """Share of the tokens that is done, from 0 to 1."""
        return min(1.0, self._done / self.total_tokens) if self.total_tokens else 1.0

    @property
    def sequences(self) -> int:
        """Sequences that this process has done."""
        return self._last[1]

    @property
    def tokens(self) -> int:
        """Tokens that this process has done."""
        return self._last[2]

    @property
    def written(self) -> str:
        """How many shards this process has written, in words."""
        here = " here" if self._ranks > 1 else ""
        return f"{self.shards_written} of {self.total_shards} shards written{here}"

    @property
    def _done(self) -> int:
        return self._last[2] + self._others()

    def batch_done(self, sequences: int, tokens: int) -> None:
        """Note how much is done."""
        now = self._clock()
        self._last = (now, sequences, tokens)
        self.batches += 1
        if not self._points or now - self._points[-1][0] >= _STEP_S:
            self._points.append(self._last)
            while now - self._points[0][0] > self._window_s:
                self._points.popleft()

    def shard_done(self, shard: Shard) -> None:  # noqa: ARG002
        """Count the shards that are on the disk."""
        self.shards_written += 1

    def rates(self) -> tuple[float, float] | None:
        """Return sequences and tokens per second of the last minute; None before two batches are done."""
        if not self._points:
            return None
        (first_at, sequences, tokens), (last_at, last_sequences, last_tokens) = self._points[0], self._last
        if last_at <= first_at:
            return None
        return (last_sequences - sequences) / (last_at - first_at), (last_tokens - tokens) / (last_at - first_at)

    def seconds_left(self) -> float | None:
        """Return the seconds that are left if all ranks are as fast as this one; None if no rate is known yet."""
        rates = self.rates()
        if rates is None or not rates[1]:
            return None
        left = self.total_tokens - self._done
        return max(0.0, left / (self._ranks * rates[1]) - (self._clock() - self._last[0]))

    def __str__(self) -> str:
        rates = self.rates()
        if rates is None:
            return f"no rate yet, {in_words(self._clock() - self._began)} so far, {self.written}"
        done = f"{self.share:.1%}, {number(rates[0])} sequences/s, {number(rates[1])} tokens/s, {self.written}"
        if self._done >= self.total_tokens:
            return f"{done}, writing the last"
        return f"{done}, about {in_words(self.seconds_left() or 0.0)} left"
