# SPDX-License-Identifier: MIT
"""Layer norm of a residual stream whose biases have been left out so far."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from virnuc_profiler.inference.kernels.rows import row_program


def layer_norm(
    x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, eps: float, *, out: Tensor | None = None
) -> Tensor:
    """Normalizes ``x + offset`` row by row, with statistics in fp32.

    Args:
        x: (T, h), contiguous.
        offset: (h,) float32, added to each row.
        weight: (h,).
        bias: (h,).
        eps: added to the variance.
        out: where to write; may be `x` itself. None for new memory.

    Returns:
        (T, h) in the dtype of `x`.
    """
    rows, width = x.shape
    if out is None:
        out = torch.empty_like(x)
    programs, block, together, warps = row_program(rows, width)
    _layer_norm[(programs,)](x, offset, weight, bias, out, rows, eps, width, block, together, num_warps=warps)
    return out


@triton.jit(do_not_specialize=["rows"])
def _layer_norm(
    x, offset, weight, bias, out, rows, eps, WIDTH: tl.constexpr, BLOCK: tl.constexpr, TOGETHER: tl.constexpr
):
    row = tl.program_id(0) * TOGETHER + tl.arange(0, TOGETHER)
    column = tl.arange(0, BLOCK)
    real = column < WIDTH
    inside = (row < rows)[:, None] & real[None, :]
    place = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    value = tl.load(x + place, inside, 0.0).to(tl.float32) + tl.load(offset + column, real, 0.0)[None, :]
    tl.store(out + place, normalized(value, inside, weight, bias, column, real, eps, WIDTH), inside)


@triton.jit
def normalized(value, inside, weight, bias, column, real, eps, WIDTH: tl.constexpr):
    """The layer norm of fp32 rows, which are `WIDTH` wide where they are `real`."""
    mean = tl.sum(value, 1) / WIDTH
    centered = tl.where(inside, value - mean[:, None], 0.0)
    scale = tl.rsqrt(tl.sum(centered * centered, 1) / WIDTH + eps)
    w = tl.load(weight + column, real, 0.0).to(tl.float32)
    b = tl.load(bias + column, real, 0.0).to(tl.float32)
    return centered * scale[:, None] * w[None, :] + b[None, :]
