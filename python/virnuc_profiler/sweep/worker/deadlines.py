# SPDX-License-Identifier: MIT
"""How long the supervisor waits for what. Pure but for the clock, which a test can replace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

START_TIMEOUT_S: Final = 600.0
"""For loading: 15B parameters from a slow disk take minutes."""

PROGRESS_TIMEOUT_S: Final = 300.0
"""Without a batch: the first one waits for workers and kernels to be compiled, all others take seconds."""

CLEAN_UP_S: Final = 15.0
"""What a trial may take beyond its own time limit and pause: its workers end within 6 s, then files are written."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long things may take, in seconds.

    Attributes:
        start_s: loading the model; the warm-up alike.
        progress_s: the longest time without a finished batch or another message.
    """

    start_s: float = START_TIMEOUT_S
    progress_s: float = PROGRESS_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class ExpiredDeadline:
    """A deadline that has passed.

    Attributes:
        deadline: ``start``, ``hang`` or ``total``.
        limit_s: what was allowed, without what is added for the clean-up.
        waited_s: how long it has been.
    """

    deadline: str
    limit_s: float
    waited_s: float

    def __str__(self) -> str:
        what = {
            "start": "the model was not ready after {:g} s (--start-timeout): allow it more",
            "hang": "no batch was finished for {:g} s: it hangs (--progress-timeout)",
            "total": "it did not end by itself after {:g} s (--timeout)",
        }[self.deadline]
        return what.format(self.limit_s)


class Watchdog:
    """The deadlines of one request, from now on.

    Args:
        start_s: within which it must be answered; None for any time.
        progress_s: the longest silence; None for any.
        total_s: within which it must be answered once :meth:`begun` was called; None for any time.
        extra_s: is added to the last two, for what belongs to a trial but is no batch: its pause and clean-up.
        clock: seconds, monotonic.
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
        self._began = self._heard = clock()
        self._measuring_since: float | None = None

    def heard(self) -> None:
        """A message came."""
        self._heard = self._clock()

    def begun(self) -> None:
        """What is measured has begun, after files were opened and the like: the time for it counts from here."""
        self._measuring_since = self._clock()

    @property
    def measuring(self) -> bool:
        """Whether it has begun."""
        return self._measuring_since is not None

    def left_s(self) -> float | None:
        """Seconds until the first deadline passes, 0 if one has; None if there is none."""
        now = self._clock()
        left = [since + limit + self._extra[name] - now for name, limit, since in self._running()]
        return max(0.0, min(left)) if left else None

    def passed(self) -> ExpiredDeadline | None:
        """The deadline that has passed, if one has."""
        now = self._clock()
        for name, limit, since in self._running():
            if now >= since + limit + self._extra[name]:
                return ExpiredDeadline(name, limit, now - since)
        return None

    def _running(self) -> Iterator[tuple[str, float, float]]:
        """Name, limit and beginning of each deadline that counts now."""
        for name, since in (("start", self._began), ("hang", self._heard), ("total", self._measuring_since)):
            limit = self._limits[name]
            if limit is not None and since is not None:
                yield name, limit, since
