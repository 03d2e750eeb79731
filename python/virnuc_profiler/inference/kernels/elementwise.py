# SPDX-License-Identifier: MIT
"""The exact GELU, in place."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 4096


def gelu_(x: Tensor) -> Tensor:
    """Replaces x by x * Phi(x), Phi being the normal distribution's integral (the erf form, not the tanh one).

    Computed in fp32 within 1e-6 * |x| (PyTorch's own: 3e-7), hundreds of times finer than what fp16 resolves: erfc by
    formula 7.1.26 of Abramowitz and Stegun, which gives the small values on the left side without cancellation.

    Args:
        x: contiguous, of any shape.

    Returns:
        `x`.
    """
    count = x.numel()
    _gelu[(triton.cdiv(count, _BLOCK),)](x, count, _BLOCK, num_warps=8)
    return x


@triton.jit
def _gelu(x, count, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    value = tl.load(x + place, inside, 0.0).to(tl.float32)
    tl.store(x + place, gelu(value), inside)


@triton.jit
def gelu(value):
    """X * Phi(x) of fp32 numbers."""
    size = tl.abs(value)
    root = tl.rsqrt(1.0 + 0.3275911 * 0.7071067811865476 * size)
    t = root * root  # not by a division, which is several instructions
    series = t * (0.127414796 + t * (-0.142248368 + t * (0.7107068705 + t * (-0.7265760135 + t * 0.5307027145))))
    tail = series * tl.exp2(value * value * -0.7213475204444817)  # 1 - Phi(|x|)
    return tl.maximum(value, 0.0) - size * tail


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
