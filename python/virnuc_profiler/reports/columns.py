# SPDX-License-Identifier: MIT
"""Alignment of table cells in text, and lines that fit a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

_SEPARATOR = " | "


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return one line per row, with cells padded to the width of their column.

    Args:
        rows: Cells of each row; all rows have the same length.
        left: Number of columns, from the first, to align to the left. The others are aligned to the right.
    """
    widths = _widths(rows)
    return [
        _SEPARATOR.join(
            text.ljust(width) if place < left else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def fitted(rows: Sequence[Sequence[str]], width: int, left: int = 1) -> list[str]:
    """Return the lines of a table that fits a width: if it is too wide, several tables, one below the other.

    Each of these tables repeats the left columns, and has as many of the other columns as fit, but at least one.
    Blank lines separate them.

    Args:
        rows: Cells of each row, the headings first; all rows have the same length.
        width: Maximum number of characters of a line.
        left: Number of columns, from the first, to align to the left and to repeat.
    """
    widths = _widths(rows)
    blocks: list[list[int]] = [[]]
    used = start = sum(widths[:left]) + (left - 1) * len(_SEPARATOR)
    for place in range(left, len(widths)):
        needed = len(_SEPARATOR) + widths[place]
        if blocks[-1] and used + needed > width:
            blocks.append([])
            used = start
        blocks[-1].append(place)
        used += needed
    lines: list[str] = []
    for block in blocks:
        chosen = [*range(left), *block]
        lines += ["", *aligned([[row[place] for place in chosen] for row in rows], left)]
    return lines[1:]


def filled(text: str, width: int, indent: str = "") -> list[str]:
    """Return a text as lines that fit a width, broken between words.

    Args:
        text: Text of one paragraph.
        width: Maximum number of characters of a line; a longer word exceeds it.
        indent: What the lines after the first begin with.
    """
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]


def shortened(text: str, limit: int) -> str:
    """Return a text with its middle replaced by ``…`` if it is too long: names often differ in their last characters.

    Args:
        text: Text to shorten.
        limit: Maximum number of characters, at least 3.
    """
    tail = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]
