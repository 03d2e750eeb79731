# SPDX-License-Identifier: MIT
"""Token embeddings with ESM-2's scaling, and the position of each token."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra.cuda import globaltimer

from virnuc_profiler.inference.kernels.rows import row_program

_TOKENS = 1024
"""Tokens that one program reads in one step; most sequences fit into one."""


def describe_tokens(
    tokens: Tensor, cu_seqlens: Tensor, mask_token: int, unmasked_share: float, timestamps: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute each token's position and the scale of its embedding.

    Args:
        tokens: (T,) integers.
        cu_seqlens: (B + 1,) int32 on the same device, cumulative lengths from 0 to T.
        mask_token: Token that counts as masked.
        unmasked_share: Share of tokens that were not masked in training.
        timestamps: (2,) int64; the first becomes ``%globaltimer`` (ns) at the start of this kernel, the second 0. Or
            (1,) int64 with the address of such memory, or 0, which a captured graph reads when it is replayed. None to
            record none.

    Returns:
        Positions, (T,) int32, from 0 in each sequence; and scales, (T,) float32: 0 for a masked token, for the others
        `unmasked_share` divided by the share of tokens in their sequence that are not masked.
    """
    positions = torch.empty(tokens.shape, dtype=torch.int32, device=tokens.device)
    scales = torch.empty(tokens.shape, dtype=torch.float32, device=tokens.device)
    sequences = cu_seqlens.shape[0] - 1
    indirect = timestamps is not None and timestamps.shape[0] == 1
    _describe_tokens[(sequences,)](
        tokens, cu_seqlens, positions, scales, timestamps, mask_token, unmasked_share, indirect, _TOKENS, num_warps=4
    )
    return positions, scales


def embed(tokens: Tensor, table: Tensor, scales: Tensor) -> Tensor:
    """Look up each token's embedding and scale it in fp32.

    Args:
        tokens: (T,) integers.
        table: (alphabet size, h) embeddings.
        scales: (T,) float32.

    Returns:
        (T, h) in the data type of `table`.
    """
    count, hidden_size = tokens.shape[0], table.shape[1]
    out = torch.empty(count, hidden_size, dtype=table.dtype, device=table.device)
    programs, block, rows_per_program, warps = row_program(count, hidden_size)
    _embed[(programs,)](tokens, table, scales, out, count, hidden_size, block, rows_per_program, num_warps=warps)
    return out


@triton.jit
def _describe_tokens(
    tokens,
    cu_seqlens,
    positions,
    scales,
    timestamps,
    MASK_TOKEN: tl.constexpr,
    unmasked_share,
    INDIRECT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    sequence = tl.program_id(0)
    if timestamps is not None:
        _record_start(timestamps, sequence == 0, INDIRECT)
    begin = tl.load(cu_seqlens + sequence)
    end = tl.load(cu_seqlens + sequence + 1)
    missing = 0
    for start in range(begin, end, BLOCK):
        index = start + tl.arange(0, BLOCK)
        token = tl.load(tokens + index, index < end, 0).to(tl.int32)
        missing += tl.sum(((index < end) & (token == MASK_TOKEN)).to(tl.int32), 0)
    scale = unmasked_share / (1.0 - missing / (end - begin))
    for start in range(begin, end, BLOCK):
        index = start + tl.arange(0, BLOCK)
        token = tl.load(tokens + index, index < end, 0).to(tl.int32)
        tl.store(positions + index, index - begin, index < end)
        tl.store(scales + index, tl.where(token == MASK_TOKEN, 0.0, scale), index < end)


@triton.jit
def _record_start(timestamps, first, INDIRECT: tl.constexpr):
    if INDIRECT:
        address = tl.load(timestamps)
        target = address.to(tl.pointer_type(tl.int64))
        wanted = first & (address != 0)
    else:
        target = timestamps
        wanted = first
    tl.store(target, globaltimer(), wanted)
    tl.store(target + 1, 0, wanted)


@triton.jit(do_not_specialize=["count"])
def _embed(tokens, table, scales, out, count, HIDDEN_SIZE: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    inside = (row < count)[:, None] & (column < HIDDEN_SIZE)[None, :]
    token = tl.load(tokens + row, row < count, 0).to(tl.int32)
    scale = tl.load(scales + row, row < count, 0.0)
    value = tl.load(table + token[:, None] * HIDDEN_SIZE + column[None, :], inside, 0.0).to(tl.float32)
    tl.store(out + row.to(tl.int64)[:, None] * HIDDEN_SIZE + column[None, :], value * scale[:, None], inside)
