# SPDX-License-Identifier: MIT
"""Lines on stderr that say every ten seconds what a long command is doing, and how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

from virnuc_profiler.cli.terminal import say_progress
from virnuc_profiler.sweep.plan.estimate import in_words
from virnuc_profiler.telemetry.number_text import number

EVERY_S: Final = 10.0

Clock = Callable[[], float]


class Heartbeat:
    """Prints a line on stderr every ten seconds while a block runs, from a thread that sleeps in between.

    Args:
        doing: What is being done, in words, or a function that returns the whole line, empty for none.
        clock: Returns monotonic seconds.
        wait: Waits for some seconds, and returns whether the block has ended. Tests replace it.
    """

    def __init__(
        self,
        doing: str | Callable[[], str],
        clock: Clock = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._doing = doing
        self._clock = clock
        self._ended = threading.Event()
        self._wait = wait or self._ended.wait
        self._began = clock()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._began = self._clock()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._wait(EVERY_S):
            if line := self._line():
                say_progress(line)

    def _line(self) -> str:
        if callable(self._doing):
            return self._doing()
        return f"{self._doing}: {in_words(self._clock() - self._began)} so far"


class TokenMeter:
    """How far a run is, by the tokens that are done, since time grows with tokens and not with sequences.

    A run that goes through its workload several times is shown pass by pass. One thread may count while another reads.

    Args:
        total: Tokens of one pass, which most runs consist of.
        clock: Returns monotonic seconds.
    """

    def __init__(self, total: int, clock: Clock = time.monotonic) -> None:
        self._total = total
        self._clock = clock
        self._began = clock()
        self._first = self._last = (self._began, 0)

    def count(self, tokens: int) -> None:
        """Note how many tokens are done."""
        self._last = (self._clock(), tokens)
        if not self._first[1]:
            self._first = self._last

    @property
    def share(self) -> float:
        """Share of the current pass that is done, from 0 to 1."""
        return self._last[1] % self._total / self._total if self._total else 0.0

    @property
    def tokens(self) -> int:
        """Tokens that are done in all passes."""
        return self._last[1]

    @property
    def passes(self) -> int:
        """Number of passes that are done."""
        return self._last[1] // self._total if self._total else 0

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens per second after the first batch, which waits for workers and kernels; None before there is a rate."""
        (first_at, first), (last_at, last) = self._first, self._last
        if not last:
            return None
        seconds, tokens = (last_at - first_at, last - first) if last > first else (last_at - self._began, last)
        return tokens / seconds if seconds > 0 else None

    def seconds_left(self) -> float | None:
        """Return the seconds that are left of the first pass; None if there is no rate, or it is over."""
        rate, (last_at, last) = self.tokens_per_s, self._last
        if rate is None or last >= self._total:
            return None
        return max(0.0, (self._total - last) / rate - (self._clock() - last_at))

    def __str__(self) -> str:
        """Return tokens done, their rate and the time left, or that no batch is finished yet."""
        last = self._last[1]
        if not last:
            return f"no batch finished yet, {in_words(self._clock() - self._began)} so far"
        if last == self._total:
            return f"all {self._total:,} tokens are done, cleaning up"
        passes, part = divmod(last, self._total)
        if not part:
            return f"all {self._total:,} tokens are done {passes} times"
        done = f"{part:,} of {self._total:,} tokens ({part / self._total:.0%})"
        done = f"pass {passes + 1}: {done}" if passes else done
        rate = self.tokens_per_s
        if rate is None:
            return done
        left = self.seconds_left()
        if left is None:  # the run decides at the end of each pass whether another one follows
            return f"{done}, {number(rate)} tokens/s"
        return f"{done}, {number(rate)} tokens/s, about {in_words(left)} left"
