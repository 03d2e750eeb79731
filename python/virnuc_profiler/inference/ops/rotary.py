# SPDX-License-Identifier: MIT
"""Rotary position embeddings (RoFormer, arXiv 2104.09864), with the angles of fair-esm."""

import torch
from torch import Tensor

_MIN_TABLE = 1024
"""Positions: all of a sequence that was cut at 1,022 residues."""


def rotary_angles(positions: Tensor, head_dim: int) -> Tensor:
    """By how much each pair of a head is rotated.

    The angles are computed in fp32 from the positions: in half precision the frequencies themselves would be off, and
    by position 1,000 the angles meaningless. They are no buffer of the model, because ``model.half()`` would round it.

    Args:
        positions: (T,) integers, place of each token in its sequence.
        head_dim: width of one head, even.

    Returns:
        (T, head_dim / 2) float32.
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device) / head_dim
    return positions.float()[:, None] / torch.pow(10000.0, exponents)


def rotary_tables(positions: Tensor, head_dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Builds the factors that :func:`apply_rotary` needs, once for a pack and not once for a layer.

    Args:
        positions: (T,) integers, place of each token in its sequence.
        head_dim: width of one head, even.
        dtype: of the results; only cosines and sines are rounded to it.

    Returns:
        cos and sin, each (T, 1, 1, head_dim); the first half of sin is negative, because there the rotation
        subtracts.
    """
    angles = rotary_angles(positions, head_dim)
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


class RotaryAngles:
    """Cosines and sines by position, in fp32, kept from pack to pack; tables only ever grow."""

    def __init__(self) -> None:
        self._tables: tuple[Tensor, Tensor] | None = None

    def covering(self, positions: int, head_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cos and sin, each (at least `positions`, head_dim / 2) float32."""
        if self._tables is None or len(self._tables[0]) < positions or self._tables[0].device != device:
            count = max(_MIN_TABLE, 1 << (positions - 1).bit_length())
            angles = rotary_angles(torch.arange(count, device=device), head_dim)
            self._tables = angles.cos(), angles.sin()
        return self._tables
