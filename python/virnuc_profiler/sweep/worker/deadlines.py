# SPDX-License-Identifier: MIT
"""Deadlines of requests to the model process. Pure except for the clock, which a test can replace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from virnuc_profiler.inference.loading.running_time import POLL_S

START_TIMEOUT_S: Final = 600.0
"""Seconds to load the model. 15B parameters from a slow disk take minutes."""

PROGRESS_TIMEOUT_S: Final = 300.0
"""Seconds without a finished batch. The first one waits for workers and compiled kernels; the others take seconds."""

CLEAN_UP_S: Final = 15.0
"""Seconds that a trial may take beyond its time limit and pause: workers end within 6 s, then files are written."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits of the model process.

    Attributes:
        start_s: Longest time to load the model, and again to warm it up, in seconds.
        progress_s: Longest time without a finished batch or another message, in seconds.
    """

    start_s: float = START_TIMEOUT_S
    progress_s: float = PROGRESS_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class ExpiredDeadline:
    """A deadline that has expired.

    Attributes:
        deadline: Name of the deadline: ``start``, ``hang`` or ``total``.
        limit_s: Time limit in seconds, without the extra time for the clean-up.
        waited_s: Time since the limit began to count, in seconds.
    """

    deadline: str
    limit_s: float
    waited_s: float

    def __str__(self) -> str:
        sentence = {
            "start": "the model was not ready after {:g} s: raise --start-timeout",
            "hang": "no batch finished for {:g} s: the trial hangs, or --progress-timeout is too short",
            "total": "the trial did not end within {:g} s (--timeout)",
        }[self.deadline]
        return sentence.format(self.limit_s)


class Watchdog:
    """Watches the deadlines of one request, from its construction on.

    Args:
        start_s: Longest time until the answer, in seconds. None for no limit.
        progress_s: Longest time between two messages, in seconds. None for no limit.
        total_s: Longest time from :meth:`start_measuring` to the answer, in seconds. None for no limit.
        extra_s: Seconds to add to `progress_s` and `total_s` for the parts of a trial without batches: its pause and
            its clean-up.
        clock: Monotonic clock, in seconds. One that stands still while processes are stopped keeps that time out of all
            limits; wait no longer than :meth:`poll_s` then.
    """

    def __init__(
        self,
        *,
        start_s: float | None = None,
        progress_s: float | None = None,
        total_s: float | None = None,
        extra_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = {"start": start_s, "hang": progress_s, "total": total_s}
        self._extra = {"start": 0.0, "hang": extra_s, "total": extra_s}
        self._clock = clock
        self._began = self._last_message = clock()
        self._measuring_since: float | None = None

    def reset_progress(self) -> None:
        """Restart the time limit for progress, because a message has arrived."""
        self._last_message = self._clock()

    def start_measuring(self) -> None:
        """Start the total time limit, because the trial has opened its files and begins to measure."""
        self._measuring_since = self._clock()

    @property
    def measuring(self) -> bool:
        """Whether the trial has begun to measure."""
        return self._measuring_since is not None

    def remaining_s(self) -> float | None:
        """Return the seconds until the first deadline expires, 0 if one has; None without deadlines."""
        now = self._clock()
        remaining = [since + limit + self._extra[name] - now for name, limit, since in self._active()]
        return max(0.0, min(remaining)) if remaining else None

    def use_clock(self, clock: Callable[[], float]) -> None:
        """Read another clock from now on; both must be on the axis of the monotonic clock.

        Args:
            clock: Monotonic clock, in seconds.
        """
        self._clock = clock

    def poll_s(self) -> float | None:
        """Return how long to wait for a message before the deadlines must be looked at; None without deadlines."""
        remaining = self.remaining_s()
        return None if remaining is None else min(remaining, POLL_S)

    def expired(self) -> ExpiredDeadline | None:
        """Return a deadline that has expired, or None."""
        now = self._clock()
        for name, limit, since in self._active():
            if now >= since + limit + self._extra[name]:
                return ExpiredDeadline(name, limit, now - since)
        return None

    def _active(self) -> Iterator[tuple[str, float, float]]:
        """Yield the name, limit and start of each active deadline."""
        for name, since in (("start", self._began), ("hang", self._last_message), ("total", self._measuring_since)):
            limit = self._limits[name]
            if limit is not None and since is not None:
                yield name, limit, since
