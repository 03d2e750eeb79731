# SPDX-License-Identifier: MIT
"""Rotary position embeddings (RoFormer, arXiv 2104.09864), with the angles of fair-esm."""

import torch
from torch import Tensor

_MIN_TABLE = 1024
"""Smallest number of positions in a table; covers a sequence truncated to 1,022 residues."""


def exact_frequencies(head_dim: int) -> Tensor:
    """Return the rotation of each pair of a head from one position to the next, in radians.

    Args:
        head_dim: Size of one head, even.

    Returns:
        (head_dim / 2,) float32 on the CPU, computed as fair-esm computes it for a new model.
    """
    return 1.0 / 10000 ** (torch.arange(0, head_dim, 2).float() / head_dim)


def rotary_angles(positions: Tensor, frequencies: Tensor) -> Tensor:
    """Compute the angle by which each pair of a head is rotated.

    The angles are computed in fp32 from the positions. In half precision they would be meaningless by position 1,000.

    Args:
        positions: (T,) integers, position of each token in its sequence.
        frequencies: (head_dim / 2,) float32 on the same device, from :func:`exact_frequencies` or a checkpoint.

    Returns:
        (T, head_dim / 2) float32.
    """
    return positions.float()[:, None] * frequencies


def rotary_tables(positions: Tensor, frequencies: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Build the factors of :func:`apply_rotary`, once per pack instead of once per layer.

    Args:
        positions: (T,) integers, position of each token in its sequence.
        frequencies: (head_dim / 2,) float32 on the same device.
        dtype: Data type of the results; only cosines and sines are rounded to it.

    Returns:
        cos and sin, each (T, 1, 1, head_dim). The first half of sin is negative, because the rotation subtracts there.
    """
    angles = rotary_angles(positions, frequencies)
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
        self._frequencies: Tensor | None = None

    def covering(self, positions: int, frequencies: Tensor) -> tuple[Tensor, Tensor]:
        """Return tables that cover a number of positions.

        Args:
            positions: Number of positions that are needed.
            frequencies: (head_dim / 2,) float32 on the device of the tables; another object makes new tables.

        Returns:
            cos and sin, each (at least `positions`, head_dim / 2) float32.
        """
        if self._tables is None or len(self._tables[0]) < positions or self._frequencies is not frequencies:
            count = max(_MIN_TABLE, 1 << (positions - 1).bit_length())
            angles = rotary_angles(torch.arange(count, device=frequencies.device), frequencies)
            self._tables, self._frequencies = (angles.cos(), angles.sin()), frequencies
        return self._tables
