# SPDX-License-Identifier: MIT
"""Token embeddings with ESM-2's scaling, and the position of each token."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from virnuc_profiler.inference.kernels.rows import row_program

_TOKENS = 1024
"""Tokens that one program looks at together: most sequences in one go."""


def describe_tokens(tokens: Tensor, cu_seqlens: Tensor, mask_token: int, kept: float) -> tuple[Tensor, Tensor]:
    """Finds each token's position, and by how much its embedding is to be scaled.

    Args:
        tokens: (T,) integers.
        cu_seqlens: (B + 1,) int32 on the same device, cumulative lengths from 0 to T.
        mask_token: a token that counts as missing.
        kept: share of tokens that was not missing in training.

    Returns:
        Positions, (T,) int32, from 0 in each sequence; and scales, (T,) float32: 0 for a missing token, for the
        others `kept` over the share of tokens that are not missing in their sequence.
    """
    positions = torch.empty(tokens.shape, dtype=torch.int32, device=tokens.device)
    scales = torch.empty(tokens.shape, dtype=torch.float32, device=tokens.device)
    sequences = cu_seqlens.shape[0] - 1
    _describe_tokens[(sequences,)](tokens, cu_seqlens, positions, scales, mask_token, kept, _TOKENS, num_warps=4)
    return positions, scales


def embed(tokens: Tensor, table: Tensor, scales: Tensor) -> Tensor:
    """Looks each token up and scales its row, in fp32.

    Args:
        tokens: (T,) integers.
        table: (tokens of the alphabet, h).
        scales: (T,) float32.

    Returns:
        (T, h) in the dtype of `table`.
    """
    count, width = tokens.shape[0], table.shape[1]
    out = torch.empty(count, width, dtype=table.dtype, device=table.device)
    programs, block, together, warps = row_program(count, width)
    _embed[(programs,)](tokens, table, scales, out, count, width, block, together, num_warps=warps)
    return out


@triton.jit
def _describe_tokens(tokens, cu_seqlens, positions, scales, MASK_TOKEN: tl.constexpr, kept, BLOCK: tl.constexpr):
    sequence = tl.program_id(0)
    begin = tl.load(cu_seqlens + sequence)
    end = tl.load(cu_seqlens + sequence + 1)
    missing = 0
    for start in range(begin, end, BLOCK):
        place = start + tl.arange(0, BLOCK)
        token = tl.load(tokens + place, place < end, 0).to(tl.int32)
        missing += tl.sum(((place < end) & (token == MASK_TOKEN)).to(tl.int32), 0)
    scale = kept / (1.0 - missing / (end - begin))
    for start in range(begin, end, BLOCK):
        place = start + tl.arange(0, BLOCK)
        token = tl.load(tokens + place, place < end, 0).to(tl.int32)
        tl.store(positions + place, place - begin, place < end)
        tl.store(scales + place, tl.where(token == MASK_TOKEN, 0.0, scale), place < end)


@triton.jit(do_not_specialize=["count"])
def _embed(tokens, table, scales, out, count, WIDTH: tl.constexpr, BLOCK: tl.constexpr, TOGETHER: tl.constexpr):
    row = tl.program_id(0) * TOGETHER + tl.arange(0, TOGETHER)
    column = tl.arange(0, BLOCK)
    inside = (row < count)[:, None] & (column < WIDTH)[None, :]
    token = tl.load(tokens + row, row < count, 0).to(tl.int32)
    scale = tl.load(scales + row, row < count, 0.0)
    value = tl.load(table + token[:, None] * WIDTH + column[None, :], inside, 0.0).to(tl.float32)
    tl.store(out + row.to(tl.int64)[:, None] * WIDTH + column[None, :], value * scale[:, None], inside)
