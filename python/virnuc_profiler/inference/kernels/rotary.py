# SPDX-License-Identifier: MIT
"""Rotary position embeddings of queries and keys, in place."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

_PAIRS = 2048
"""Pairs that one program rotates."""


def rotate_(qkv: Tensor, positions: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Rotates each pair (i, i + head_dim / 2) of queries and keys by its angle, in fp32.

    Args:
        qkv: (T, n, heads, head_dim), contiguous: queries, keys, and what stays as it is.
        positions: (T,) int32, place of each token in its sequence.
        cos: (positions, head_dim / 2) float32.
        sin: the same shape.
    """
    tokens, parts, heads, head_dim = qkv.shape
    half = head_dim // 2
    pairs = 2 * heads * half
    block = min(_PAIRS, triton.next_power_of_2(pairs))
    together = _PAIRS // block
    grid = (triton.cdiv(tokens, together), triton.cdiv(pairs, block))
    _rotate[grid](
        qkv, positions, cos, sin, tokens, pairs, half, parts * heads * head_dim, block, together, num_warps=4
    )  # fmt: skip


@triton.jit(do_not_specialize=["tokens"])
def _rotate(
    qkv, positions, cos, sin, tokens,
    PAIRS: tl.constexpr, HALF: tl.constexpr, STRIDE: tl.constexpr, BLOCK: tl.constexpr, TOGETHER: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0) * TOGETHER + tl.arange(0, TOGETHER)
    pair = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = (token < tokens)[:, None] & (pair < PAIRS)[None, :]
    position = tl.load(positions + token, token < tokens, 0)
    angle = position[:, None] * HALF + (pair % HALF)[None, :]
    c = tl.load(cos + angle, inside, 0.0)
    s = tl.load(sin + angle, inside, 0.0)
    first = qkv + token.to(tl.int64)[:, None] * STRIDE + (pair // HALF * (2 * HALF) + pair % HALF)[None, :]
    a = tl.load(first, inside, 0.0).to(tl.float32)
    b = tl.load(first + HALF, inside, 0.0).to(tl.float32)
    tl.store(first, a * c - b * s, inside)
    tl.store(first + HALF, b * c + a * s, inside)
