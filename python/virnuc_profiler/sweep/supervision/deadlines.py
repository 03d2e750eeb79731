# SPDX-License-Identifier: MIT
"""How long the supervisor waits for what. Pure but for the clock, which a test can replace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

START_TIMEOUT_S: Final = 600.0
"""For loading: 15B parameters from a slow disk take minutes."""

PROGRESS_TIMEOUT_S: Final = 300.0
"""Without a batch: the first one waits for workers and kernels to be compiled, all others take seconds."""

CLEAN_UP_S: Final = 15.0
"""What a trial may take beyond its own time limit and pause: its workers end within 6 s, then files are written."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds.

    Attributes:
        start_s: loading the model; the warm-up alike.
        progress_s: the longest time without a finished batch or another message.
        total_s: a configuration; None for any time. The model process keeps to it by itself, so that what was
            measured is written; the supervisor steps in where it does not.
    """

    start_s: float = START_TIMEOUT_S
    progress_s: float = PROGRESS_TIMEOUT_S
    total_s: float | None = None


@dataclass(frozen=True, slots=True)
class Passed:
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
            "start": "the model was not ready after {:g} s (--start-timeout)",
            "hang": "no batch was finished for {:g} s: it hangs (--progress-timeout)",
            "total": "it did not end by itself after {:g} s (--timeout)",
        }[self.deadline]
        return what.format(self.limit_s)


class Watch:
    """The deadlines of one request, from now on.

    Args:
        start_s: within which it must be answered; None for any time.
        progress_s: the longest silence; None for any.
        total_s: within which it must be answered, or else it is a trial that runs over time; None for any time.
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

    def heard(self) -> None:
        """A message came."""
        self._heard = self._clock()

    def left_s(self) -> float | None:
        """Seconds until the first deadline passes, 0 if one has; None if there is none."""
        left = [self._due(name, limit) - self._clock() for name, limit in self._limits.items() if limit is not None]
        return max(0.0, min(left)) if left else None

    def passed(self) -> Passed | None:
        """The deadline that has passed, if one has."""
        now = self._clock()
        for name, limit in self._limits.items():
            if limit is not None and now >= self._due(name, limit):
                return Passed(name, limit, now - self._since(name))
        return None

    def _since(self, name: str) -> float:
        return self._heard if name == "hang" else self._began

    def _due(self, name: str, limit: float) -> float:
        return self._since(name) + limit + self._extra[name]
