# SPDX-License-Identifier: MIT
"""Rotary position embeddings (RoFormer, arXiv 2104.09864), with the angles of fair-esm."""

import torch
from torch import Tensor

_MIN_TABLE = 1024
"""Smallest number of positions in a table; covers a sequence truncated to 1,022 residues."""


def rotary_angles(positions: Tensor, head_dim: int) -> Tensor:
    """Compute the angle by which each pair of a head is rotated.

    The angles are computed in fp32 from the positions. In half precision the frequencies would be rounded, and by
    position 1,000 the angles would be meaningless. They are not a buffer of the model, because ``model.half()`` would
    round it.

    Args:
        positions: (T,) integers, position of each token in its sequence.
        head_dim: Size of one head, even.

    Returns:
        (T, head_dim / 2) float32.
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device) / head_dim
    return positions.float()[:, None] / torch.pow(10000.0, exponents)


def rotary_tables(positions: Tensor, head_dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Build the factors of :func:`apply_rotary`, once per pack instead of once per layer.

    Args:
        positions: (T,) integers, position of each token in its sequence.
        head_dim: Size of one head, even.
        dtype: Data type of the results; only cosines and sines are rounded to it.

    Returns:
        cos and sin, each (T, 1, 1, head_dim). The first half of sin is negative, because the rotation subtracts there.
    """
    angles = rotary_angles(positions, head_dim)
    cos, sin = angles.cos(), angles.sin()
    return (
        torch.cat((cos, cos), dim=-1)[:, None, None].to(dtype),
        torch.cat((-sin, sin), dim=-1)[:, None, None].to(dtype),
    )


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair (i, i + head_dim / 2) by its angle, in three kernels.

    Args:
        x: (T, 2, heads, head_dim) queries and keys.
        cos: (T, 1, 1, head_dim) cosines from :func:`rotary_tables`.
        sin: (T, 1, 1, head_dim) signed sines from :func:`rotary_tables`.

    Returns:
        The rotated tensor, contiguous, in the shape and data type of `x`.
    """
    swapped = x.roll(x.shape[-1] // 2, dims=-1)
    return torch.addcmul(x * cos, swapped, sin)


class RotaryAngles:
    """Cosines and sines by position in fp32, kept between packs; the tables only grow."""

    def __init__(self) -> None:
        self._tables: tuple[Tensor, Tensor] | None = None

    def covering(self, positions: int, head_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return tables that cover a number of positions.

        Args:
            positions: Number of positions that are needed.
            head_dim: Size of one head, even.
            device: Device of the tables.

        Returns:
            cos and sin, each (at least `positions`, head_dim / 2) float32.
        """
        if self._tables is None or len(self._tables[0]) < positions or self._tables[0].device != device:
            count = max(_MIN_TABLE, 1 << (positions - 1).bit_length())
            angles = rotary_angles(torch.arange(count, device=device), head_dim)
            self._tables = angles.cos(), angles.sin()
        return self._tables
