# SPDX-License-Identifier: MIT
"""Wrap text to the width of the terminal."""

from __future__ import annotations

import shutil
import textwrap
from typing import Final

_MAX_COLUMNS: Final = 120
_MIN_TEXT: Final = 24


def terminal_columns() -> int:
    """Return the width of the terminal, at most 120; 80 where there is no terminal."""
    return min(shutil.get_terminal_size().columns, _MAX_COLUMNS)


def wrapped(start: str, text: str, columns: int) -> list[str]:
    """Return a text in lines that begin below each other; a path that is too long for a line stays whole.

    Args:
        start: What the first line begins with, and what the other lines are indented by.
        text: The text.
        columns: Width of a line.
    """
    width = max(columns - len(start), _MIN_TEXT)
    pieces = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"{start if number == 0 else ' ' * len(start)}{piece}".rstrip() for number, piece in enumerate(pieces)]
