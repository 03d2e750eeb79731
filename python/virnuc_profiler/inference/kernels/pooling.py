# SPDX-License-Identifier: MIT
"""The mean over each sequence's residues."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra.cuda import globaltimer

_COLUMNS = 128
_ROWS = 32


def mean_pool(hidden: Tensor, cu_seqlens: Tensor, out: Tensor | None = None, stamps: Tensor | None = None) -> Tensor:
    """Averages each sequence's rows but the first and the last, in fp32 and in a fixed order.

    Args:
        hidden: (T, h), contiguous.
        cu_seqlens: (B + 1,) int32 on the same device.
        out: (B, h) float32, contiguous: where the means go; by default memory of their own.
        stamps: (2,) int64; the second becomes the device's time when this ends, in ns, if that is later.

    Returns:
        (B, h) float32; NaN for a sequence without residues.
    """
    sequences, width = cu_seqlens.shape[0] - 1, hidden.shape[1]
    if out is None:
        out = torch.empty(sequences, width, dtype=torch.float32, device=hidden.device)
    grid = (sequences, triton.cdiv(width, _COLUMNS))
    _mean_pool[grid](hidden, cu_seqlens, out, stamps, width, _COLUMNS, _ROWS, num_warps=4)
    return out


@triton.jit
def _mean_pool(hidden, cu_seqlens, out, stamps, WIDTH: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr):
    sequence = tl.program_id(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    real = column < WIDTH
    begin = tl.load(cu_seqlens + sequence) + 1
    end = tl.load(cu_seqlens + sequence + 1) - 1
    total = tl.zeros([COLUMNS], tl.float32)
    for start in range(begin, end, ROWS):
        row = start + tl.arange(0, ROWS)
        inside = (row < end)[:, None] & real[None, :]
        values = tl.load(hidden + row.to(tl.int64)[:, None] * WIDTH + column[None, :], inside, 0.0)
        total += tl.sum(values.to(tl.float32), 0)
    tl.store(out + sequence * WIDTH + column, total / (end - begin), real)
    if stamps is not None:
        tl.atomic_max(stamps + 1, globaltimer(), sem="relaxed")
