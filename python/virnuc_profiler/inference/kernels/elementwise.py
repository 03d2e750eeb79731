# SPDX-License-Identifier: MIT
"""Elementwise kernels in place: the exact GELU, and the rotation of queries and keys."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 4096


def gelu_(x: Tensor) -> Tensor:
    """Replace x by x Φ(x), the exact (erf) form of GELU; Φ is the standard normal distribution function.

    erfc is computed in fp32 by formula 7.1.26 of Abramowitz and Stegun, which has no cancellation for negative x. The
    error is below 1e-6 |x| (PyTorch: 3e-7), hundreds of times finer than the resolution of fp16.

    Args:
        x: Contiguous tensor of any shape, changed in place.

    Returns:
        `x`.
    """
    count = x.numel()
    _gelu[(triton.cdiv(count, _BLOCK),)](x, count, _BLOCK, num_warps=8)
    return x


@triton.jit
def _gelu(x, count, BLOCK: tl.constexpr):
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = index < count
    value = tl.load(x + index, inside, 0.0).to(tl.float32)
    tl.store(x + index, gelu(value), inside)


@triton.jit
def gelu(value):
    """Return x * Phi(x) of fp32 values."""
    size = tl.abs(value)
    root = tl.rsqrt(1.0 + 0.3275911 * 0.7071067811865476 * size)
    t = root * root  # cheaper than a division, which takes several instructions
    series = t * (0.127414796 + t * (-0.142248368 + t * (0.7107068705 + t * (-0.7265760135 + t * 0.5307027145))))
    tail = series * tl.exp2(value * value * -0.7213475204444817)  # 1 - Phi(|x|)
    return tl.maximum(value, 0.0) - size * tail


_PAIRS = 2048
"""Number of pairs that one program rotates."""


def rotate_(qkv: Tensor, positions: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Rotate each pair (i, i + head_dim / 2) of queries and keys by its angle, in fp32 and in place.

    Args:
        qkv: (T, n, heads, head_dim), contiguous; the first two of n are queries and keys, the others stay as they are.
        positions: (T,) int32 position of each token in its sequence.
        cos: (positions, head_dim / 2) float32 cosines of the angles.
        sin: (positions, head_dim / 2) float32 sines of the angles.
    """
    tokens, parts, heads, head_dim = qkv.shape
    half = head_dim // 2
    pairs = 2 * heads * half
    block = min(_PAIRS, triton.next_power_of_2(pairs))
    tokens_per_program = _PAIRS // block
    grid = (triton.cdiv(tokens, tokens_per_program), triton.cdiv(pairs, block))
    _rotate[grid](
        qkv, positions, cos, sin, tokens, pairs, half, parts * heads * head_dim, block, tokens_per_program, num_warps=4
    )  # fmt: skip


@triton.jit(do_not_specialize=["tokens"])
def _rotate(
    qkv, positions, cos, sin, tokens,
    PAIRS: tl.constexpr, HALF: tl.constexpr, STRIDE: tl.constexpr, BLOCK: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
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
