# SPDX-License-Identifier: MIT
"""Waits for a condition, as long as it takes and no longer than it may."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_FIRST_S: Final = 0.005
_LONGEST_S: Final = 0.2
_GROWTH: Final = 1.6
"""The pauses between two looks: short at first, since most is gone at once; longer later, since looking costs too."""


def wait_until(
    condition: Callable[[], bool],
    at_most_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Looks again and again; returns the seconds that it took, whether the condition came or not."""
    started = clock()
    pause = _FIRST_S
    while not condition():
        left = at_most_s - (clock() - started)
        if left <= 0:
            break
        sleep(min(pause, left))
        pause = min(pause * _GROWTH, _LONGEST_S)
    return clock() - started
