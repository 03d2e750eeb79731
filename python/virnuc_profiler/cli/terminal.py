# SPDX-License-Identifier: MIT
"""The terminal: its width, and lines on stderr that say what a long command is doing."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import Final

MIN_WIDTH: Final = 60
"""Narrower terminals break the lines themselves."""

_FIRST_S: Final = 2.0
"""Work that is shorter says nothing."""
_EVERY_S: Final = 5.0


def terminal_width() -> int:
    """Return the number of columns that output should fit: those of COLUMNS or the terminal, or else 80."""
    return max(MIN_WIDTH, shutil.get_terminal_size().columns)


class WorkLines:
    """Prints what is being done on stderr, after two seconds and then every five.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock() + _FIRST_S

    def __call__(self, what: str) -> None:
        """Say what is being done now, unless a line was printed a moment ago.

        Args:
            what: A few words, such as "reading strings, 20,000 rows so far".
        """
        now = self._clock()
        if now >= self._next:
            print(f"{what} ...", file=sys.stderr, flush=True)
            self._next = now + _EVERY_S
