# SPDX-License-Identifier: MIT
"""Rotary position embeddings (RoFormer, arXiv 2104.09864), with the angles of fair-esm."""

import torch
from torch import Tensor


def rotary_tables(positions: Tensor, head_dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Builds the factors that :func:`apply_rotary` needs, once for a pack and not once for a layer.

    The angles are computed in fp32 from the positions, and only their cosines and sines are rounded to `dtype`:
    in half precision the frequencies themselves would be off, and by position 1,000 the angles meaningless.
    They are derived anew for each pack because a buffer would be rounded by ``model.half()``.

    Args:
        positions: (T,) integers, place of each token in its sequence.
        head_dim: width of one head, even.
        dtype: of the results.

    Returns:
        cos and sin, each (T, 1, 1, head_dim); the first half of sin is negative, because there the rotation
        subtracts.
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device) / head_dim
    angles = positions.float()[:, None] / torch.pow(10000.0, exponents)
    cos, sin = angles.cos(), angles.sin()
    return (
        torch.cat((cos, cos), dim=-1)[:, None, None].to(dtype),
        torch.cat((-sin, sin), dim=-1)[:, None, None].to(dtype),
    )


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates each pair (i, i + head_dim / 2) by its angle, in three kernels.

    Args:
        x: (T, 2, heads, head_dim), queries and keys.
        cos: (T, 1, 1, head_dim).
        sin: (T, 1, 1, head_dim), signed as :func:`rotary_tables` does.

    Returns:
        The shape and dtype of `x`, contiguous.
    """
    swapped = x.roll(x.shape[-1] // 2, dims=-1)
    return torch.addcmul(x * cos, swapped, sin)
