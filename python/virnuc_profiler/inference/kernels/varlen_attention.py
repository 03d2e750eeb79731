# SPDX-License-Identifier: MIT
"""Attention within the sequences of a pack: each program handles a block of queries and streams the keys past it.

The method is FlashAttention-2 (arXiv 2307.08691): scores are never written to memory, and each row's maximum and sum
are corrected while the keys stream by.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 64
"""Queries per program, and keys per step. Protein sequences are short: larger blocks would be filled poorly."""


def plan_blocks(total_tokens: int, cu_seqlens: Tensor) -> Tensor:
    """Divide the sequences into blocks of queries, without waiting for the device.

    The blocks of sequence b start at number ``cu_seqlens[b] // block + b``. That leaves enough numbers for all of its
    blocks and needs no prefix sum; unused numbers are empty blocks.

    Args:
        total_tokens: T, at least the last entry of `cu_seqlens`.
        cu_seqlens: (B + 1,) int32 on the device, cumulative lengths from 0.

    Returns:
        (blocks, 3) int32: first query, start and end of its sequence. A block is empty if its first query is not before
        the end.
    """
    sequences = cu_seqlens.shape[0] - 1
    blocks = torch.empty(total_tokens // _BLOCK + sequences, 3, dtype=torch.int32, device=cu_seqlens.device)
    _plan_blocks[(blocks.shape[0],)](cu_seqlens, sequences, blocks, _BLOCK, num_warps=1)
    return blocks


def attend(blocks: Tensor, q: Tensor, k: Tensor, v: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Compute softmax(q kᵀ / sqrt(head_dim)) v within each sequence; products in the data type of `q`, sums in fp32.

    Args:
        blocks: Result of :func:`plan_blocks`.
        q: (T, heads, head_dim) queries, head_dim up to 128; the last two dimensions contiguous.
        k: (T, heads, head_dim) keys; the last two dimensions contiguous.
        v: (T, heads, head_dim) values; the last two dimensions contiguous.
        out: (T, heads, head_dim) output, contiguous; None allocates it.

    Returns:
        (T, heads, head_dim), contiguous.
    """
    tokens, heads, head_dim = q.shape
    padded_dim = max(16, triton.next_power_of_2(head_dim))
    # Keys and values of two or three steps are in flight: with wide heads, three do not fit into the 100 kB of
    # shared memory that some GPUs have.
    stages = 3 if padded_dim <= 64 else 2
    if out is None:
        out = torch.empty(tokens, heads, head_dim, dtype=q.dtype, device=q.device)
    _attend[(blocks.shape[0], heads)](
        q, k, v, out, blocks, q.stride(0), k.stride(0), v.stride(0), math.log2(math.e) / math.sqrt(head_dim),
        heads, head_dim, padded_dim, _BLOCK, num_warps=4, num_stages=stages,
    )  # fmt: skip
    return out


@triton.jit(do_not_specialize=["sequences"])
def _plan_blocks(cu_seqlens, sequences, blocks, BLOCK: tl.constexpr):
    number = tl.program_id(0)
    low = 0
    high = sequences - 1
    while low < high:  # binary search for the last sequence whose first block is at or before this number
        middle = (low + high + 1) // 2
        if tl.load(cu_seqlens + middle) // BLOCK + middle <= number:
            low = middle
        else:
            high = middle - 1
    begin = tl.load(cu_seqlens + low)
    tl.store(blocks + 3 * number, begin + (number - begin // BLOCK - low) * BLOCK)
    tl.store(blocks + 3 * number + 1, begin)
    tl.store(blocks + 3 * number + 2, tl.load(cu_seqlens + low + 1))


@triton.jit
def _attend(
    q, k, v, out, blocks, q_stride, k_stride, v_stride, scale,
    HEADS: tl.constexpr, HEAD_DIM: tl.constexpr, PADDED_DIM: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    first = tl.load(blocks + 3 * tl.program_id(0))
    begin = tl.load(blocks + 3 * tl.program_id(0) + 1).to(tl.int64)
    end = tl.load(blocks + 3 * tl.program_id(0) + 2)
    if first >= end:
        return
    head = tl.program_id(1) * HEAD_DIM
    step = tl.arange(0, BLOCK)
    dim = tl.arange(0, PADDED_DIM)
    row = first + step
    inside = (row < end)[:, None] & (dim < HEAD_DIM)[None, :]
    query = tl.load(q + row.to(tl.int64)[:, None] * q_stride + head + dim[None, :], inside, 0.0)
    k += begin * k_stride + head + step[None, :] * k_stride + dim[:, None]
    v += begin * v_stride + head + step[:, None] * v_stride + dim[None, :]
    highest = tl.full([BLOCK], -float("inf"), tl.float32)  # of the scores so far, times `scale`
    total = tl.zeros([BLOCK], tl.float32)
    sums = tl.zeros([BLOCK, PADDED_DIM], tl.float32)
    keys = end - begin.to(tl.int32)
    for _ in range(keys // BLOCK):
        if PADDED_DIM == HEAD_DIM:
            key = tl.load(k)
            value = tl.load(v)
        else:
            key = tl.load(k, (dim < HEAD_DIM)[:, None], 0.0)
            value = tl.load(v, (dim < HEAD_DIM)[None, :], 0.0)
        highest, total, sums = _add_keys(tl.dot(query, key), value, scale, highest, total, sums)
        k += BLOCK * k_stride
        v += BLOCK * v_stride
    left = keys % BLOCK
    if left > 0:
        key = tl.load(k, (step < left)[None, :] & (dim < HEAD_DIM)[:, None], 0.0)
        value = tl.load(v, (step < left)[:, None] & (dim < HEAD_DIM)[None, :], 0.0)
        score = tl.where((step < left)[None, :], tl.dot(query, key), -float("inf"))
        highest, total, sums = _add_keys(score, value, scale, highest, total, sums)
    index = row.to(tl.int64)[:, None] * (HEADS * HEAD_DIM) + head + dim[None, :]
    tl.store(out + index, sums * (1.0 / total)[:, None], inside)  # one division per row


@triton.jit
def _add_keys(score, value, scale, highest, total, sums):
    now_highest = tl.maximum(highest, tl.max(score, 1) * scale)
    weight = tl.exp2(score * scale - now_highest[:, None])
    shrink = tl.exp2(highest - now_highest)
    sums = tl.dot(weight.to(value.dtype), value, sums * shrink[:, None])
    return now_highest, total * shrink + tl.sum(weight, 1), sums
