# SPDX-License-Identifier: MIT
"""Lines on stderr that say every ten seconds what a long command is doing, and how far it is."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final

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
                with suppress(OSError, ValueError):  # a closed stderr must not end a run
                    print(line, file=sys.stderr, flush=True)

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

    def __str__(self) -> str:
        """Return tokens done, their rate and the time left, or that no batch is finished yet."""
        (first_at, first), (last_at, last) = self._first, self._last
        if not last:
            return f"no batch finished yet, {in_words(self._clock() - self._began)} so far"
        if last == self._total:
            return f"all {self._total:,} tokens are done, cleaning up"
        # The first batch waits for workers and kernels, so the later ones tell how long the rest will take.
        seconds, tokens = (last_at - first_at, last - first) if last > first else (last_at - self._began, last)
        passes, part = divmod(last, self._total)
        if not part:
            return f"all {self._total:,} tokens are done {passes} times"
        done = f"{part:,} of {self._total:,} tokens ({part / self._total:.0%})"
        done = f"pass {passes + 1}: {done}" if passes else done
        if seconds <= 0:
            return done
        if passes:  # the run decides at the end of each pass whether another one follows
            return f"{done}, {number(tokens / seconds)} tokens/s"
        left = max(0.0, (self._total - last) * seconds / tokens - (self._clock() - last_at))
        return f"{done}, {number(tokens / seconds)} tokens/s, about {in_words(left)} left"
