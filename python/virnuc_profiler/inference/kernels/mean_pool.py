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


def mean_pool(
    hidden: Tensor, cu_seqlens: Tensor, *, out: Tensor | None = None, timestamps: Tensor | None = None
) -> Tensor:
    """Average each sequence's rows except the first and the last (BOS and EOS), in fp32 and in a fixed order.

    Args:
        hidden: (T, h), contiguous.
        cu_seqlens: (B + 1,) int32 on the same device.
        out: (B, h) float32 output, contiguous; None allocates it.
        timestamps: (2,) int64; the second becomes ``%globaltimer`` (ns) at the end of this kernel if that is later than
            its value. None to record none.

    Returns:
        (B, h) float32; NaN for a sequence without residues.
    """
    sequences, hidden_size = cu_seqlens.shape[0] - 1, hidden.shape[1]
    if out is None:
        out = torch.empty(sequences, hidden_size, dtype=torch.float32, device=hidden.device)
    _mean_pool[_grid(sequences, hidden_size)](
        hidden, cu_seqlens, out, timestamps, hidden_size, _COLUMNS, _ROWS, num_warps=4
    )
    return out


def mean_pool_indirect(hidden: Tensor, cu_seqlens: Tensor, target: Tensor) -> None:
    """Pool as :func:`mean_pool` does, with an output address that a captured graph reads when it is replayed.

    Args:
        hidden: (T, h), contiguous.
        cu_seqlens: (B + 1,) int32 on the same device.
        target: (3,) int64 on the same device, filled by ``graph_inputs.load_graph_inputs``: the number of sequences to
            pool, the address of as many contiguous rows of h float32, and the address of two int64, or 0. The second of
            these becomes ``%globaltimer`` (ns) at the end of this kernel if that is later than its value.
    """
    sequences, hidden_size = cu_seqlens.shape[0] - 1, hidden.shape[1]
    _mean_pool_indirect[_grid(sequences, hidden_size)](
        hidden, cu_seqlens, target, hidden_size, _COLUMNS, _ROWS, num_warps=4
    )


def _grid(sequences: int, hidden_size: int) -> tuple[int, int]:
    return sequences, triton.cdiv(hidden_size, _COLUMNS)


@triton.jit
def _mean_pool(
    hidden, cu_seqlens, out, timestamps, HIDDEN_SIZE: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr
):
    _store_mean(hidden, cu_seqlens, out, HIDDEN_SIZE, COLUMNS, ROWS)
    if timestamps is not None:
        tl.atomic_max(timestamps + 1, globaltimer(), sem="relaxed")


@triton.jit
def _mean_pool_indirect(
    hidden, cu_seqlens, target, HIDDEN_SIZE: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr
):
    if tl.program_id(0) < tl.load(target):
        out = tl.load(target + 1).to(tl.pointer_type(tl.float32))
        _store_mean(hidden, cu_seqlens, out, HIDDEN_SIZE, COLUMNS, ROWS)
        timestamps = tl.load(target + 2)
        if timestamps != 0:
            tl.atomic_max(timestamps.to(tl.pointer_type(tl.int64)) + 1, globaltimer(), sem="relaxed")


@triton.jit
def _store_mean(hidden, cu_seqlens, out, HIDDEN_SIZE: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr):
    sequence = tl.program_id(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    real = column < HIDDEN_SIZE
    begin = tl.load(cu_seqlens + sequence) + 1
    end = tl.load(cu_seqlens + sequence + 1) - 1
    total = tl.zeros([COLUMNS], tl.float32)
    for start in range(begin, end, ROWS):
        row = start + tl.arange(0, ROWS)
        inside = (row < end)[:, None] & real[None, :]
        values = tl.load(hidden + row.to(tl.int64)[:, None] * HIDDEN_SIZE + column[None, :], inside, 0.0)
        total += tl.sum(values.to(tl.float32), 0)
    tl.store(out + sequence * HIDDEN_SIZE + column, total / (end - begin), real)
