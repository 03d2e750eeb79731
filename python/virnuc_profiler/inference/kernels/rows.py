# SPDX-License-Identifier: MIT
"""How rows are shared out among programs."""

from __future__ import annotations

from typing import Final, NamedTuple

import triton

ROWS_TOGETHER: Final = 2
"""Rows of one program: fewer keep too few bytes on their way, more take too many registers (measured on an H200)."""


class RowProgram(NamedTuple):
    """One program's share: `block` is the power of two that holds a row."""

    programs: int
    block: int
    warps: int


def row_program(rows: int, width: int) -> RowProgram:
    """The grid and the size of a program that works through `rows` rows of `width` numbers."""
    block = triton.next_power_of_2(width)
    return RowProgram(triton.cdiv(rows, ROWS_TOGETHER), block, max(1, min(8, block // 1024)))
