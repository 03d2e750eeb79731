# SPDX-License-Identifier: MIT
"""Rows in FP8 (e4m3), each with a scale of its own, made where the numbers are in registers anyway."""

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
LARGEST: Final = 448.0
"""The largest number of the format; each row's largest is brought to it."""

_LARGEST: tl.constexpr = tl.constexpr(LARGEST)


Quantized = tuple[Tensor, Tensor]
"""(T, n) FP8, and (T, 1) float32 by which each row must be multiplied to get the numbers back."""


def quantize(x: Tensor) -> Quantized:
    """Rounds the rows of (T, n), contiguous."""
    return _quantize_after(_identity, x)


def gelu_quantize(x: Tensor) -> Quantized:
    """The exact GELU of (T, n), contiguous, rounded."""
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
    """Adds `update` to the residual stream, in place, and normalizes and rounds the rows of ``x + offset``.

    Args:
        x: (T, h), contiguous.
        update: (T, h), contiguous, or None.
        offset: (h,) float32, added to each row of what is normalized.
        weight: (h,).
        bias: (h,).
        eps: added to the variance.
        exact: (T, h) in the dtype of `x`, contiguous, where the rows go before they are rounded, too; None for nowhere.

    Returns:
        The rounded rows.
    """
    (rows, width), (out, scales) = x.shape, _empty_like(x)
    programs, block, together, warps = row_program(rows, width)
    _norm_quantize[(programs,)](
        x, x if update is None else update, offset, weight, bias, out, scales, x if exact is None else exact, rows, eps,
        update is not None, exact is not None, width, block, together, num_warps=warps,
    )  # fmt: skip
    return out, scales


def _quantize_after(change: triton.JITFunction, x: Tensor) -> Quantized:
    (rows, width), (out, scales) = x.shape, _empty_like(x)
    programs, block, together, warps = row_program(rows, width)
    _quantize[(programs,)](x, out, scales, rows, change, width, block, together, num_warps=warps)
    return out, scales


def _empty_like(x: Tensor) -> Quantized:
    scales = torch.empty(x.shape[0], 1, dtype=torch.float32, device=x.device)
    return torch.empty(x.shape, dtype=FP8, device=x.device), scales


@triton.jit
def _identity(value):
    return value


@triton.jit(do_not_specialize=["rows"])
def _quantize(
    x, out, scales, rows, CHANGE: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, TOGETHER: tl.constexpr
):
    row = tl.program_id(0) * TOGETHER + tl.arange(0, TOGETHER)
    column = tl.arange(0, BLOCK)
    inside = (row < rows)[:, None] & (column < WIDTH)[None, :]
    place = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    _store(CHANGE(tl.load(x + place, inside, 0.0).to(tl.float32)), out, scales, row, rows, place, inside)


@triton.jit(do_not_specialize=["rows"])
def _norm_quantize(
    x, update, offset, weight, bias, out, scales, exact, rows, eps, ADD: tl.constexpr, EXACT: tl.constexpr,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, TOGETHER: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * TOGETHER + tl.arange(0, TOGETHER)
    column = tl.arange(0, BLOCK)
    real = column < WIDTH
    inside = (row < rows)[:, None] & real[None, :]
    place = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    value = tl.load(x + place, inside, 0.0)
    if ADD:
        value = (value.to(tl.float32) + tl.load(update + place, inside, 0.0).to(tl.float32)).to(value.dtype)
        tl.store(x + place, value, inside)
    value = value.to(tl.float32) + tl.load(offset + column, real, 0.0)[None, :]
    value = tl.where(inside, normalized(value, inside, weight, bias, column, real, eps, WIDTH), 0.0)
    if EXACT:
        tl.store(exact + place, value, inside)
    _store(value, out, scales, row, rows, place, inside)


@triton.jit
def _store(value, out, scales, row, rows, place, inside):
    scale = tl.maximum(tl.max(tl.abs(value), 1), 1e-12) / _LARGEST
    tl.store(out + place, (value / scale[:, None]).to(tl.float8e4nv), inside)
    tl.store(scales + row, scale, row < rows)
