# SPDX-License-Identifier: MIT
"""Layer norm of a residual stream whose biases have not been added yet."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from virnuc_profiler.inference.kernels.rows import row_program


def layer_norm(
    x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, eps: float, *, out: Tensor | None = None
) -> Tensor:
    """Normalize ``x + offset`` row by row, with statistics in fp32.

    Args:
        x: (T, h), contiguous.
        offset: (h,) float32, added to each row.
        weight: (h,) scale of the layer norm.
        bias: (h,) bias of the layer norm.
        eps: Constant added to the variance.
        out: (T, h) output, may be `x` itself; None allocates it.

    Returns:
        (T, h) in the data type of `x`.
    """
    rows, hidden_size = x.shape
    if out is None:
        out = torch.empty_like(x)
    programs, block, rows_per_program, warps = row_program(rows, hidden_size)
    _layer_norm[(programs,)](
        x, offset, weight, bias, out, rows, eps, hidden_size, block, rows_per_program, num_warps=warps
    )
    return out


@triton.jit(do_not_specialize=["rows"])
def _layer_norm(
    x, offset, weight, bias, out, rows, eps, HIDDEN_SIZE: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    real = column < HIDDEN_SIZE
    inside = (row < rows)[:, None] & real[None, :]
    index = row.to(tl.int64)[:, None] * HIDDEN_SIZE + column[None, :]
    value = tl.load(x + index, inside, 0.0).to(tl.float32) + tl.load(offset + column, real, 0.0)[None, :]
    tl.store(out + index, normalized(value, inside, weight, bias, column, real, eps, HIDDEN_SIZE), inside)


@triton.jit
def normalized(value, inside, weight, bias, column, real, eps, HIDDEN_SIZE: tl.constexpr):
    """Return the layer norm of fp32 rows of `HIDDEN_SIZE` elements; `real` marks the columns that exist."""
    mean = tl.sum(value, 1) / HIDDEN_SIZE
    centered = tl.where(inside, value - mean[:, None], 0.0)
    scale = tl.rsqrt(tl.sum(centered * centered, 1) / HIDDEN_SIZE + eps)
    w = tl.load(weight + column, real, 0.0).to(tl.float32)
    b = tl.load(bias + column, real, 0.0).to(tl.float32)
    return centered * scale[:, None] * w[None, :] + b[None, :]
