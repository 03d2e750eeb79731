# SPDX-License-Identifier: MIT
"""Quantize rows to FP8 (e4m3), each with its own scale, in the kernel that has the values in registers anyway."""

from __future__ import annotations

from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from virnuc_profiler.inference.kernels.elementwise import gelu
from virnuc_profiler.inference.kernels.layer_norm import normalized
from virnuc_profiler.inference.kernels.rows import row_program

FP8: Final = torch.float8_e4m3fn
FP8_MAX: Final = 448.0
"""Largest number of the format; each row is scaled so that its largest magnitude becomes this."""

_FP8_MAX: tl.constexpr = tl.constexpr(FP8_MAX)


Quantized = tuple[Tensor, Tensor]
"""(T, n) FP8 rows and their (T, 1) float32 scales: value = FP8 * scale."""


def quantize(x: Tensor) -> Quantized:
    """Quantize the rows of (T, n) `x`, contiguous."""
    return _quantize_after(_identity, x)


def gelu_quantize(x: Tensor) -> Quantized:
    """Apply the exact GELU to (T, n) `x`, contiguous, and quantize the rows."""
    return _quantize_after(gelu, x)


def norm_quantize(
    x: Tensor,
    update: Tensor | None,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    exact: Tensor | None = None,
) -> Quantized:
    """Add `update` to the residual stream in place, normalize the rows of ``x + offset``, and quantize them.

    Args:
        x: (T, h) residual stream, contiguous; changed in place.
        update: (T, h) update of the stream, contiguous; None for none.
        offset: (h,) float32, added to each row before the normalization.
        weight: (h,) scale of the layer norm.
        bias: (h,) bias of the layer norm.
        eps: Constant added to the variance.
        exact: (T, h) in the data type of `x`, contiguous, that receives the normalized rows before quantization; None
            to skip that.

    Returns:
        The quantized rows.
    """
    (rows, row_size), (out, scales) = x.shape, _empty_like(x)
    programs, block, rows_per_program, warps = row_program(rows, row_size)
    _norm_quantize[(programs,)](
        x, x if update is None else update, offset, weight, bias, out, scales, x if exact is None else exact, rows, eps,
        update is not None, exact is not None, row_size, block, rows_per_program, num_warps=warps,
    )  # fmt: skip
    return out, scales


def _quantize_after(change: triton.JITFunction, x: Tensor) -> Quantized:
    (rows, row_size), (out, scales) = x.shape, _empty_like(x)
    programs, block, rows_per_program, warps = row_program(rows, row_size)
    _quantize[(programs,)](x, out, scales, rows, change, row_size, block, rows_per_program, num_warps=warps)
    return out, scales


def _empty_like(x: Tensor) -> Quantized:
    scales = torch.empty(x.shape[0], 1, dtype=torch.float32, device=x.device)
    return torch.empty(x.shape, dtype=FP8, device=x.device), scales


@triton.jit
def _identity(value):
    return value


@triton.jit(do_not_specialize=["rows"])
def _quantize(
    x, out, scales, rows, CHANGE: tl.constexpr, ROW_SIZE: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    inside = (row < rows)[:, None] & (column < ROW_SIZE)[None, :]
    index = row.to(tl.int64)[:, None] * ROW_SIZE + column[None, :]
    _store(CHANGE(tl.load(x + index, inside, 0.0).to(tl.float32)), out, scales, row, rows, index, inside)


@triton.jit(do_not_specialize=["rows"])
def _norm_quantize(
    x, update, offset, weight, bias, out, scales, exact, rows, eps, ADD: tl.constexpr, EXACT: tl.constexpr,
    ROW_SIZE: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    real = column < ROW_SIZE
    inside = (row < rows)[:, None] & real[None, :]
    index = row.to(tl.int64)[:, None] * ROW_SIZE + column[None, :]
    value = tl.load(x + index, inside, 0.0)
    if ADD:
        value = (value.to(tl.float32) + tl.load(update + index, inside, 0.0).to(tl.float32)).to(value.dtype)
        tl.store(x + index, value, inside)
    value = value.to(tl.float32) + tl.load(offset + column, real, 0.0)[None, :]
    value = tl.where(inside, normalized(value, inside, weight, bias, column, real, eps, ROW_SIZE), 0.0)
    if EXACT:
        tl.store(exact + index, value, inside)
    _store(value, out, scales, row, rows, index, inside)


@triton.jit
def _store(value, out, scales, row, rows, index, inside):
    scale = tl.maximum(tl.max(tl.abs(value), 1), 1e-12) / _FP8_MAX
    tl.store(out + index, (value / scale[:, None]).to(tl.float8e4nv), inside)
    tl.store(scales + row, scale, row < rows)
