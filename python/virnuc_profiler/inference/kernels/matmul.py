# SPDX-License-Identifier: MIT
"""Matrix products with a fused epilogue, for Hopper: what follows the product is applied while it is in registers.

They are as fast as cuBLAS at the larger models' shapes (H200), and the epilogue costs no memory traffic. The bulk copy
engine (TMA) loads tiles ahead of the tensor cores, across the end of one tile and the start of the next.
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
"""Depth of a step. Three steps of both operands are in flight, in 144 of Hopper's 227 kB of shared memory."""
_GROUP_TILES: Final = 16
"""Rows of tiles that are processed column by column, so that concurrent tiles share their operands in the L2 cache."""
_OPTIONS: Final = {"num_warps": 8, "num_stages": 3}


@cache
def fused_matmuls_supported(device: torch.device) -> bool:
    """Return whether the device and the installed Triton support these kernels."""
    hopper = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] == 9
    return hopper and find_spec("triton.tools.tensor_descriptor") is not None


def wave_efficiency(rows: int, columns: int, device: torch.device) -> float:
    """Return the share of multiprocessors that have work, averaged over the waves of tiles of a product.

    Args:
        rows: Rows of the result.
        columns: Columns of the result.
        device: Device that computes it.
    """
    rounds = _tiles(rows, columns) / _multiprocessors(device)
    return rounds / math.ceil(rounds)


def rope_fits_tiles(heads: int, head_dim: int) -> bool:
    """Return whether :func:`qkv_rope` supports a shape: half a tile must hold whole heads, and no tile keys and values.

    Args:
        heads: Number of attention heads.
        head_dim: Size of one head.
    """
    return head_dim >= 16 and _COLUMNS // 2 % head_dim == 0 and 2 * heads * head_dim % _COLUMNS == 0


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Compute gelu(x Wᵀ + b); sums, bias and GELU in fp32.

    The GELU is the exact one of :func:`~virnuc_profiler.inference.kernels.elementwise.gelu_`.

    Args:
        x: (T, k), contiguous; k a multiple of 8.
        weight: (n, k), contiguous; n a multiple of 8.
        bias: (n,) bias.
        out: (T, n) output, contiguous; None allocates it.

    Returns:
        (T, n) in the data type of `x`.
    """
    out, grid, operands = _prepare(x, weight, out)
    _linear_gelu[grid](
        *operands, bias, *x.shape, len(weight), grid[0], _ROWS, _COLUMNS, _DEPTH, _GROUP_TILES, **_OPTIONS
    )
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
    """Compute queries, keys and values in one product, and rotate queries and keys in fp32 as ``rotate_`` does.

    Args:
        x: (T, h), contiguous; h a multiple of 8.
        weight: (3 h, h), contiguous: weights of queries, keys and values.
        bias: (3 h,) biases in the same order.
        heads: Number of heads, of a size for which :func:`rope_fits_tiles` is true.
        positions: (T,) int32 position of each token in its sequence.
        cos: (positions, head_dim / 2) float32 cosines of the angles.
        sin: (positions, head_dim / 2) float32 sines of the angles.
        out: (T, 3 h) output, contiguous; None allocates it.

    Returns:
        (T, 3 h) in the data type of `x`.
    """
    out, grid, operands = _prepare(x, weight, out)
    _qkv_rope[grid](
        *operands, bias, positions, cos, sin, *x.shape, len(weight), grid[0], x.shape[1] // heads // 2,
        _ROWS, _COLUMNS, _DEPTH, _GROUP_TILES, **_OPTIONS,
    )  # fmt: skip
    return out


def _prepare(x: Tensor, weight: Tensor, out: Tensor | None) -> tuple[Tensor, tuple[int], tuple[Any, Any, Any]]:
    """Return the output, the grid, and the TMA descriptors of the operands and the output."""
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
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, GROUP_TILES: tl.constexpr,
):  # fmt: skip
    tiles = tl.cdiv(rows, ROWS) * tl.cdiv(columns, COLUMNS)
    for tile in tl.range(tl.program_id(0), tiles, PROGRAMS, flatten=True):
        row, column = tile_origin(tile, rows, columns, ROWS, COLUMNS, GROUP_TILES)
        left, right = tile_product(x, weight, bias, row, column, depth, columns, ROWS, COLUMNS, DEPTH)
        out.store([row, column], gelu(left).to(out.dtype))
        out.store([row, column + COLUMNS // 2], gelu(right).to(out.dtype))


@triton.jit(do_not_specialize=["rows", "PROGRAMS"])
def _qkv_rope(
    x, weight, out, bias, positions, cos, sin, rows, depth, columns, PROGRAMS, HALF: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, GROUP_TILES: tl.constexpr,
):  # fmt: skip
    tiles = tl.cdiv(rows, ROWS) * tl.cdiv(columns, COLUMNS)
    for tile in tl.range(tl.program_id(0), tiles, PROGRAMS, flatten=True):
        row, column = tile_origin(tile, rows, columns, ROWS, COLUMNS, GROUP_TILES)
        left, right = tile_product(x, weight, bias, row, column, depth, columns, ROWS, COLUMNS, DEPTH)
        if column < 2 * depth:  # only queries and keys; the values come after them
            number = row + tl.arange(0, ROWS)
            position = tl.load(positions + number, number < rows, 0)
            angle = position[:, None] * HALF + tl.arange(0, HALF)[None, :]
            c = tl.load(cos + angle)[:, None, :]
            s = tl.load(sin + angle)[:, None, :]
            left = rotate_pairs(left, c, s, ROWS, COLUMNS // 2, HALF)
            right = rotate_pairs(right, c, s, ROWS, COLUMNS // 2, HALF)
        out.store([row, column], left.to(out.dtype))
        out.store([row, column + COLUMNS // 2], right.to(out.dtype))


@triton.jit
def tile_origin(tile, rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr, GROUP_TILES: tl.constexpr):
    """Return the first row and column of a tile."""
    across = tl.cdiv(columns, COLUMNS)
    first = tile // (GROUP_TILES * across) * GROUP_TILES
    high = min(tl.cdiv(rows, ROWS) - first, GROUP_TILES)
    within = tile % (GROUP_TILES * across)
    return (first + within % high) * ROWS, within // high * COLUMNS


@triton.jit
def tile_product(
    x, weight, bias, row, column, depth, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr
):
    """Return the left and the right half of a tile of x W^T + b, in fp32."""
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, depth, DEPTH):
        sums = tl.dot(x.load([row, start]), weight.load([column, start]).T, sums)
    left, right = tl.split(tl.permute(tl.reshape(sums, (ROWS, 2, COLUMNS // 2)), (0, 2, 1)))
    index = column + tl.arange(0, COLUMNS // 2)
    left += tl.load(bias + index, index < columns, 0.0).to(tl.float32)[None, :]
    index += COLUMNS // 2
    right += tl.load(bias + index, index < columns, 0.0).to(tl.float32)[None, :]
    return left, right


@triton.jit
def rotate_pairs(values, c, s, ROWS: tl.constexpr, COLUMNS: tl.constexpr, HALF: tl.constexpr):
    """Rotate each pair (i, i + HALF) of each head of 2 HALF columns by the angle of its row and i."""
    heads = tl.reshape(values, (ROWS, COLUMNS // (2 * HALF), 2, HALF))
    a, b = tl.split(tl.permute(heads, (0, 1, 3, 2)))
    rotated = tl.join(a * c - b * s, b * c + a * s)
    return tl.reshape(tl.permute(rotated, (0, 1, 3, 2)), (ROWS, COLUMNS))
