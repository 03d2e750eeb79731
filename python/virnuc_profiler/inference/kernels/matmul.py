# SPDX-License-Identifier: MIT
"""Matrix products that finish their numbers while they still are in registers, for Hopper.

As fast as cuBLAS at the larger models' shapes (H200), and what follows the product costs no trip through memory. Tiles
are loaded by the bulk copy engine (TMA) ahead of the tensor cores, across the end of one tile and the start of the
next.
"""

from __future__ import annotations

import math
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from virnuc_profiler.inference.kernels.elementwise import gelu

_ROWS: Final = 128
_COLUMNS: Final = 256
_DEPTH: Final = 64
"""Of a step: three steps of both operands are on their way, in 144 of Hopper's 227 kB of shared memory."""
_TOGETHER: Final = 16
"""Rows of tiles that are gone through column by column: tiles at work at the same time then share what they load."""
_OPTIONS: Final = {"num_warps": 8, "num_stages": 3}


@cache
def fused_products_run_on(device: torch.device) -> bool:
    """Whether the card and this Triton can."""
    hopper = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] == 9
    return hopper and find_spec("triton.tools.tensor_descriptor") is not None


def filled(rows: int, columns: int, device: torch.device) -> float:
    """Share of the processors that have work while a result is made: each makes a tile at a time, round by round."""
    rounds = _tiles(rows, columns) / _multiprocessors(device)
    return rounds / math.ceil(rounds)


def rotates_in_tiles(heads: int, head_dim: int) -> bool:
    """Whether :func:`qkv_rope` can: half a tile holds whole heads, and no tile both keys and values."""
    return head_dim >= 16 and _COLUMNS // 2 % head_dim == 0 and 2 * heads * head_dim % _COLUMNS == 0


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor, *, out: Tensor | None = None) -> Tensor:
    """gelu(x W^T + b), see :func:`~virnuc_profiler.inference.kernels.elementwise.gelu_`; sums, bias and GELU in fp32.

    Args:
        x: (T, k), contiguous; k a multiple of 8.
        weight: (n, k), contiguous; n a multiple of 8.
        bias: (n,).
        out: (T, n), contiguous, where to write; None for new memory.

    Returns:
        (T, n) in the dtype of `x`.
    """
    out, grid, operands = _prepare(x, weight, out)
    _linear_gelu[grid](*operands, bias, *x.shape, len(weight), grid[0], _ROWS, _COLUMNS, _DEPTH, _TOGETHER, **_OPTIONS)
    return out


def qkv_rope(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    heads: int,
    positions: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Queries, keys and values in one product; queries and keys rotated in fp32, as by ``rotate_``.

    Args:
        x: (T, h), contiguous; h a multiple of 8.
        weight: (3 h, h), contiguous: of queries, keys and values.
        bias: (3 h,).
        heads: with a width for which :func:`rotates_in_tiles`.
        positions: (T,) int32, place of each token in its sequence.
        cos: (positions, head_dim / 2) float32.
        sin: the same shape.
        out: (T, 3 h), contiguous, where to write; None for new memory.

    Returns:
        (T, 3 h) in the dtype of `x`.
    """
    out, grid, operands = _prepare(x, weight, out)
    _linear_rotated[grid](
        *operands, bias, positions, cos, sin, *x.shape, len(weight), grid[0], x.shape[1] // heads // 2,
        _ROWS, _COLUMNS, _DEPTH, _TOGETHER, **_OPTIONS,
    )  # fmt: skip
    return out


def _prepare(x: Tensor, weight: Tensor, out: Tensor | None) -> tuple[Tensor, tuple[int], tuple[Any, Any, Any]]:
    """Memory for the result, the grid, and how the kernels reach operands and result."""
    from triton.tools.tensor_descriptor import TensorDescriptor

    rows, columns = x.shape[0], weight.shape[0]
    if out is None:
        out = torch.empty(rows, columns, dtype=x.dtype, device=x.device)
    return out, (min(_tiles(rows, columns), _multiprocessors(x.device)),), (
        TensorDescriptor.from_tensor(x, [_ROWS, _DEPTH]),
        TensorDescriptor.from_tensor(weight, [_COLUMNS, _DEPTH]),
        TensorDescriptor.from_tensor(out, [_ROWS, _COLUMNS // 2]),
    )  # fmt: skip


def _tiles(rows: int, columns: int) -> int:
    return -(-rows // _ROWS) * -(-columns // _COLUMNS)


@cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


@triton.jit(do_not_specialize=["rows", "PROGRAMS"])
def _linear_gelu(
    x, weight, out, bias, rows, depth, columns, PROGRAMS,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, TOGETHER: tl.constexpr,
):  # fmt: skip
    tiles = tl.cdiv(rows, ROWS) * tl.cdiv(columns, COLUMNS)
    for tile in tl.range(tl.program_id(0), tiles, PROGRAMS, flatten=True):
        row, column = place_of(tile, rows, columns, ROWS, COLUMNS, TOGETHER)
        left, right = product(x, weight, bias, row, column, depth, columns, ROWS, COLUMNS, DEPTH)
        out.store([row, column], gelu(left).to(out.dtype))
        out.store([row, column + COLUMNS // 2], gelu(right).to(out.dtype))


@triton.jit(do_not_specialize=["rows", "PROGRAMS"])
def _linear_rotated(
    x, weight, out, bias, positions, cos, sin, rows, depth, columns, PROGRAMS, HALF: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, TOGETHER: tl.constexpr,
):  # fmt: skip
    tiles = tl.cdiv(rows, ROWS) * tl.cdiv(columns, COLUMNS)
    for tile in tl.range(tl.program_id(0), tiles, PROGRAMS, flatten=True):
        row, column = place_of(tile, rows, columns, ROWS, COLUMNS, TOGETHER)
        left, right = product(x, weight, bias, row, column, depth, columns, ROWS, COLUMNS, DEPTH)
        if column < 2 * depth:  # the values, which come after queries and keys, stay as they are
            number = row + tl.arange(0, ROWS)
            position = tl.load(positions + number, number < rows, 0)
            angle = position[:, None] * HALF + tl.arange(0, HALF)[None, :]
            c = tl.load(cos + angle)[:, None, :]
            s = tl.load(sin + angle)[:, None, :]
            left = rotated(left, c, s, ROWS, COLUMNS // 2, HALF)
            right = rotated(right, c, s, ROWS, COLUMNS // 2, HALF)
        out.store([row, column], left.to(out.dtype))
        out.store([row, column + COLUMNS // 2], right.to(out.dtype))


@triton.jit
def place_of(tile, rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr, TOGETHER: tl.constexpr):
    """First row and column of a tile."""
    across = tl.cdiv(columns, COLUMNS)
    first = tile // (TOGETHER * across) * TOGETHER
    high = min(tl.cdiv(rows, ROWS) - first, TOGETHER)
    within = tile % (TOGETHER * across)
    return (first + within % high) * ROWS, within // high * COLUMNS


@triton.jit
def product(
    x, weight, bias, row, column, depth, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr
):
    """The left and the right half of a tile of x W^T + b, in fp32."""
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, depth, DEPTH):
        sums = tl.dot(x.load([row, start]), weight.load([column, start]).T, sums)
    left, right = tl.split(tl.permute(tl.reshape(sums, (ROWS, 2, COLUMNS // 2)), (0, 2, 1)))
    place = column + tl.arange(0, COLUMNS // 2)
    left += tl.load(bias + place, place < columns, 0.0).to(tl.float32)[None, :]
    place += COLUMNS // 2
    right += tl.load(bias + place, place < columns, 0.0).to(tl.float32)[None, :]
    return left, right


@triton.jit
def rotated(values, c, s, ROWS: tl.constexpr, COLUMNS: tl.constexpr, HALF: tl.constexpr):
    """Each pair (i, i + HALF) of each head of 2 HALF columns, by the angle of its row and i."""
    heads = tl.reshape(values, (ROWS, COLUMNS // (2 * HALF), 2, HALF))
    a, b = tl.split(tl.permute(heads, (0, 1, 3, 2)))
    turned = tl.join(a * c - b * s, b * c + a * s)
    return tl.reshape(tl.permute(turned, (0, 1, 3, 2)), (ROWS, COLUMNS))
