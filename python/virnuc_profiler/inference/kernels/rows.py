# SPDX-License-Identifier: MIT
"""How rows are shared out among programs."""

from __future__ import annotations

from typing import Final, NamedTuple

import triton

_NUMBERS: Final = 8192
_NUMBERS_PER_WARP: Final = 2048
"""What a program and each of its warps hold in registers at most: more spill, fewer keep too few bytes on their way
(measured on an H200: rows two by two, 64 numbers a thread)."""


class RowProgram(NamedTuple):
    """One program's share: `together` rows, and `block` is the power of two that holds one of them."""

    programs: int
    block: int
    together: int
    warps: int


def row_program(rows: int, width: int) -> RowProgram:
    """The grid and the size of a program that works through `rows` rows of `width` numbers."""
    block = triton.next_power_of_2(width)
    together = 2 if 2 * block <= _NUMBERS else 1
    return RowProgram(
        triton.cdiv(rows, together), block, together, max(1, min(16, block * together // _NUMBERS_PER_WARP))
    )
