# SPDX-License-Identifier: MIT
"""Progress lines with the seconds since the start."""

from time import perf_counter
from typing import Final

STARTED: Final = perf_counter()


def say(text: str) -> None:
    """Prints at once, for those who wait."""
    print(f"[{perf_counter() - STARTED:6.1f} s] {text}", flush=True)
