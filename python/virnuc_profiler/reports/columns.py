# SPDX-License-Identifier: MIT
"""Alignment of table cells in text."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return one line per row, with cells padded to the width of their column.

    Args:
        rows: Cells of each row; all rows have the same length.
        left: Number of columns, from the first, to align to the left. The others are aligned to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        " | ".join(
            text.ljust(width) if place < left else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
