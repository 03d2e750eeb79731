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


def mean_pool(hidden: Tensor, cu_seqlens: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Averages each sequence's rows but the first and the last, in fp32 and in a fixed order.

    Args:
        hidden: (T, h), contiguous.
        cu_seqlens: (B + 1,) int32 on the same device.
        out: (B, h) float32, contiguous, where to write; None for new memory.

    Returns:
        (B, h) float32; NaN for a sequence without residues.
    """
    sequences, width = cu_seqlens.shape[0] - 1, hidden.shape[1]
    if out is None:
        out = torch.empty(sequences, width, dtype=torch.float32, device=hidden.device)
    _mean_pool[_grid(sequences, width)](hidden, cu_seqlens, out, width, _COLUMNS, _ROWS, num_warps=4)
    return out


def mean_pool_to_order(hidden: Tensor, cu_seqlens: Tensor, order: Tensor) -> None:
    """As :func:`mean_pool`, for a recording: where the means go is read when it is replayed.

    Args:
        hidden: (T, h), contiguous.
        cu_seqlens: (B + 1,) int32 on the same device.
        order: (3,) int64 on the same device, see ``graph_inputs.load_graph_inputs``: how many of the B sequences are
            wanted, the address of so many contiguous rows of h float32, and that of two int64, or 0. The second of
            these becomes the device's time when this ends, in ns, if that is later than what it was.
    """
    sequences, width = cu_seqlens.shape[0] - 1, hidden.shape[1]
    _mean_pool_to_order[_grid(sequences, width)](hidden, cu_seqlens, order, width, _COLUMNS, _ROWS, num_warps=4)


def _grid(sequences: int, width: int) -> tuple[int, int]:
    return sequences, triton.cdiv(width, _COLUMNS)


@triton.jit
def _mean_pool(hidden, cu_seqlens, out, WIDTH: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr):
    _store_mean(hidden, cu_seqlens, out, WIDTH, COLUMNS, ROWS)


@triton.jit
def _mean_pool_to_order(hidden, cu_seqlens, order, WIDTH: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr):
    if tl.program_id(0) < tl.load(order):
        out = tl.load(order + 1).to(tl.pointer_type(tl.float32))
        _store_mean(hidden, cu_seqlens, out, WIDTH, COLUMNS, ROWS)
        stamps = tl.load(order + 2)
        if stamps != 0:
            tl.atomic_max(stamps.to(tl.pointer_type(tl.int64)) + 1, globaltimer(), sem="relaxed")


@triton.jit
def _store_mean(hidden, cu_seqlens, out, WIDTH: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr):
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
