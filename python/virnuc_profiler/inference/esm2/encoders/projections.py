# SPDX-License-Identifier: MIT
"""The two matrix products of a layer with a fused epilogue: rotary embeddings after one, GELU after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from virnuc_profiler.inference.kernels.elementwise import gelu_, rotate_
from virnuc_profiler.inference.kernels.matmul import (
    fused_matmuls_supported,
    linear_gelu,
    qkv_rope,
    rope_fits_tiles,
    wave_efficiency,
)

MIN_WAVE_EFFICIENCY: Final = 0.85
"""Smallest wave efficiency at which the fused kernels are used: below it, cuBLAS with its smaller tiles is faster
(``benchmarks.fused_products``)."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """The rotation of each token's queries and keys.

    Attributes:
        positions: (T,) int32 position of each token in its sequence.
        cos: (positions, head_dim / 2) float32 cosines of the angles.
        sin: (positions, head_dim / 2) float32 sines of the angles.
    """

    positions: Tensor
    cos: Tensor
    sin: Tensor

    @property
    def head_dim(self) -> int:
        """Size of one attention head."""
        return 2 * self.cos.shape[1]

    def apply(self, qkv: Tensor) -> None:
        """Rotate the first two of n in (T, n, heads, head_dim) `qkv`, in place."""
        rotate_(qkv, self.positions, self.cos, self.sin)


def qkv_with_rope(normed: Tensor, linear: nn.Linear, rotation: Rotation, out: Tensor) -> None:
    """Compute queries, keys and values, and rotate the first two.

    Args:
        normed: (T, h) input.
        linear: Weights of queries, keys and values.
        rotation: Rotation of queries and keys.
        out: (T, 3, heads, head_dim) output, contiguous.
    """
    tokens, parts, heads, head_dim = out.shape
    flat = out.view(tokens, parts * heads * head_dim)
    if _fused(normed, linear) and rope_fits_tiles(heads, head_dim):
        angles = rotation.positions, rotation.cos, rotation.sin
        qkv_rope(normed, linear.weight, linear.bias, heads, *angles, out=flat)
        return
    torch.addmm(linear.bias, normed, linear.weight.t(), out=flat)
    rotation.apply(out)


def up_with_gelu(normed: Tensor, linear: nn.Linear, out: Tensor) -> None:
    """Compute the feed-forward's inner activations.

    Args:
        normed: (T, h) input.
        linear: Weights of the feed-forward's first product.
        out: (T, 4 h) output, contiguous.
    """
    if _fused(normed, linear):
        linear_gelu(normed, linear.weight, linear.bias, out=out)
        return
    gelu_(torch.addmm(linear.bias, normed, linear.weight.t(), out=out))


def _fused(x: Tensor, linear: nn.Linear) -> bool:
    """Return whether the fused kernels run on the device and are faster for this shape."""
    return (
        fused_matmuls_supported(x.device)
        and wave_efficiency(x.shape[0], linear.out_features, x.device) >= MIN_WAVE_EFFICIENCY
    )
