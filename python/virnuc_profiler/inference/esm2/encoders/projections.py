# SPDX-License-Identifier: MIT
"""The two products of a layer that something follows token by token: rotary embeddings, and the GELU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from virnuc_profiler.inference.kernels.elementwise import gelu_, rotate_
from virnuc_profiler.inference.kernels.matmul import (
    filled,
    fused_products_run_on,
    linear_gelu,
    qkv_rope,
    rotates_in_tiles,
)

MIN_FILLED: Final = 0.85
"""Share of the processors that must have work, the last round included: with less, cuBLAS is ahead, which has smaller
tiles to choose from (``benchmarks.fused_products``)."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """By how much each token's queries and keys are rotated.

    Attributes:
        positions: (T,) int32, place of each token in its sequence.
        cos: (positions, head_dim / 2) float32.
        sin: the same shape.
    """

    positions: Tensor
    cos: Tensor
    sin: Tensor

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return 2 * self.cos.shape[1]

    def apply(self, qkv: Tensor) -> None:
        """Rotates (T, n, heads, head_dim) in place, the first two of n."""
        rotate_(qkv, self.positions, self.cos, self.sin)


def qkv_with_rope(normed: Tensor, linear: nn.Linear, rotation: Rotation, out: Tensor) -> None:
    """(T, h) to queries, keys and values, the first two rotated; into `out`, (T, 3, heads, head_dim), contiguous."""
    tokens, parts, heads, head_dim = out.shape
    flat = out.view(tokens, parts * heads * head_dim)
    if _fused(normed, linear) and rotates_in_tiles(heads, head_dim):
        angles = rotation.positions, rotation.cos, rotation.sin
        qkv_rope(normed, linear.weight, linear.bias, heads, *angles, out=flat)
        return
    torch.addmm(linear.bias, normed, linear.weight.t(), out=flat)
    rotation.apply(out)


def up_with_gelu(normed: Tensor, linear: nn.Linear, out: Tensor) -> None:
    """(T, h) to the feed-forward's inner activations; into `out`, (T, 4 h), contiguous."""
    if _fused(normed, linear):
        linear_gelu(normed, linear.weight, linear.bias, out=out)
        return
    gelu_(torch.addmm(linear.bias, normed, linear.weight.t(), out=out))


def _fused(x: Tensor, linear: nn.Linear) -> bool:
    return fused_products_run_on(x.device) and filled(x.shape[0], linear.out_features, x.device) >= MIN_FILLED
