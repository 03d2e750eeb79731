# SPDX-License-Identifier: MIT
"""How far an embed job is: a bar on a terminal, lines in a log, with the rate of this process and the time left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from virnuc_profiler.cli.heartbeat import Heartbeat
from virnuc_profiler.embed.claimed_shards import ClaimedShards
from virnuc_profiler.embed.rank_worker import RankListener
from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.ranks.rank import Rank
from virnuc_profiler.ranks.rank_variables import RAY
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
        self._total = tokens
        self._shards = shards
        self._clock = clock
        self._others = others
        self._ranks = ranks
        self._window_s = window_s
        self._began = clock()
        self._points: deque[tuple[float, int, int]] = deque()
        self._last = (self._began, 0, 0)
        self.shards_written = 0

    @property
    def share(self) -> float:
        """Share of the tokens that is done, from 0 to 1."""
        return min(1.0, self._done / self._total) if self._total else 1.0

    @property
    def _done(self) -> int:
        return self._last[2] + self._others()

    def batch_done(self, sequences: int, tokens: int) -> None:
        """Note how much is done."""
        now = self._clock()
        self._last = (now, sequences, tokens)
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

    def __str__(self) -> str:
        here = " here" if self._ranks > 1 else ""
        written = f"{self.shards_written} of {self._shards} shards written{here}"
        rates = self.rates()
        if rates is None:
            return f"no rate yet, {in_words(self._clock() - self._began)} so far, {written}"
        done = f"{self.share:.1%}, {number(rates[0])} sequences/s, {number(rates[1])} tokens/s, {written}"
        left = self._total - self._done
        if left <= 0:
            return f"{done}, writing the last"
        seconds = left / (self._ranks * rates[1]) - (self._clock() - self._last[0]) if rates[1] else 0.0
        return f"{done}, about {in_words(max(0.0, seconds))} left"


class _BarMeter(JobMeter):
    """Moves a bar, at most a few times a second."""

    def __init__(self, tokens: int, shards: int, progress: Progress, others: Callable[[], int], ranks: int) -> None:
        super().__init__(tokens, shards, others=others, ranks=ranks)
        self._progress = progress
        self._task = progress.add_task("embedding", total=1.0, text="")
        self._next = 0.0

    def batch_done(self, sequences: int, tokens: int) -> None:
        """Note how much is done, and move the bar."""
        super().batch_done(sequences, tokens)
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 0.25
            self._progress.update(self._task, completed=self.share, text=str(self))


@contextmanager
def show_job(left: Sequence[Shard], queue: ClaimedShards, rank: Rank) -> Iterator[JobMeter]:
    """Show the progress of a job, and yield its receiver: a bar if stderr is a terminal, else a line every 10 s.

    Several ranks may share a terminal, so they print lines.

    Args:
        left: Shards that are left.
        queue: Queue of the job, which knows what other ranks have finished.
        rank: Which rank this process is.
    """
    tokens, shards = sum(shard.tokens for shard in left), len(left)
    others = queue.tokens_of_others
    console = Console(stderr=True)
    if not console.is_terminal or not rank.is_single:
        meter = JobMeter(tokens, shards, others=others, ranks=rank.count)
        if rank.launcher == RAY:  # whose driver prints the lines, for all ranks together
            yield meter
            return
        label = "embedding" if rank.is_single else f"rank {rank.index}, embedding"
        with Heartbeat(lambda: f"{label}: {meter}"):
            yield meter
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=console, redirect_stdout=False, transient=True, refresh_per_second=4) as progress:
        yield _BarMeter(tokens, shards, progress, others, rank.count)
