# SPDX-License-Identifier: MIT
"""Distribute rows among Triton programs."""

from __future__ import annotations

from typing import Final, NamedTuple

import triton

_ELEMENTS: Final = 8192
_ELEMENTS_PER_WARP: Final = 2048
"""Limits of the elements in a program's and in a warp's registers: more elements spill, and fewer keep too few loads in
flight (measured on an H200, where two rows per program and 64 elements per thread are fastest)."""


class RowProgram(NamedTuple):
    """Launch parameters of a kernel that processes whole rows.

    Attributes:
        programs: Number of programs.
        block: Power of two that holds one row.
        rows_per_program: Rows that one program processes.
        warps: Warps of one program.
    """

    programs: int
    block: int
    rows_per_program: int
    warps: int


def row_program(rows: int, row_size: int) -> RowProgram:
    """Return the launch parameters for `rows` rows of `row_size` elements."""
    block = triton.next_power_of_2(row_size)
    rows_per_program = 2 if 2 * block <= _ELEMENTS else 1
    warps = max(1, min(16, block * rows_per_program // _ELEMENTS_PER_WARP))
    return RowProgram(triton.cdiv(rows, rows_per_program), block, rows_per_program, warps)
