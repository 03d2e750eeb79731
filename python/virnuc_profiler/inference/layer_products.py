# SPDX-License-Identifier: MIT
"""The two products of a layer that something follows token by token: rotary embeddings, and the GELU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn

from virnuc_profiler.inference.kernels.gelu import gelu_
from virnuc_profiler.inference.kernels.products import (
    filled,
    fused_products_run_on,
    linear_gelu,
    linear_rotated,
    rotates_in_tiles,
)
from virnuc_profiler.inference.kernels.rotary import rotate_

LEAST_FILLED: Final = 0.85
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

    def apply(self, qkv: Tensor) -> None:
        """Rotates (T, n, heads, head_dim) in place, the first two of n."""
        rotate_(qkv, self.positions, self.cos, self.sin)


def rotated_qkv(normed: Tensor, linear: nn.Linear, heads: int, rotation: Rotation) -> Tensor:
    """(T, h) to queries, keys and values, (T, 3, heads, head_dim), the first two rotated."""
    tokens, width = normed.shape
    if _fused(normed, linear) and rotates_in_tiles(heads, width // heads):
        found = linear_rotated(
            normed, linear.weight, linear.bias, heads, rotation.positions, rotation.cos, rotation.sin
        )
        return found.view(tokens, 3, heads, -1)
    qkv: Tensor = linear(normed).view(tokens, 3, heads, -1)
    rotation.apply(qkv)
    return qkv


def up_with_gelu(normed: Tensor, linear: nn.Linear) -> Tensor:
    """(T, h) to the feed-forward's inner activations, (T, 4 h)."""
    if _fused(normed, linear):
        return linear_gelu(normed, linear.weight, linear.bias)
    return gelu_(linear(normed))


def _fused(x: Tensor, linear: nn.Linear) -> bool:
    return fused_products_run_on(x.device) and filled(x.shape[0], linear.out_features, x.device) >= LEAST_FILLED
