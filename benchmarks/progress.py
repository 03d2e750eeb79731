# SPDX-License-Identifier: MIT
"""Print progress lines with the seconds since the start."""

from time import perf_counter
from typing import Final

STARTED: Final = perf_counter()


def say(text: str) -> None:
    """Print a line and flush it at once."""
    print(f"[{perf_counter() - STARTED:6.1f} s] {text}", flush=True)
