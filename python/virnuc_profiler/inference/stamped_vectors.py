# SPDX-License-Identifier: MIT
"""The vectors of a pass, and in the same memory when the device began and ended it."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

_STAMPS: Final = 2
_FLOATS: Final = _STAMPS * 2
"""What they take of fp32 memory: each has 64 bits."""


class StampedVectors:
    """One vector per sequence, behind the two times of the device's timer: one copy to the host brings both.

    Args:
        memory: contiguous float32, of :meth:`size_for` elements.
        sequences: B.
        width: h.

    Attributes:
        memory: see there.
        stamps: (2,) int64 over the memory's beginning, first and last moment of the pass in ns.
        vectors: (B, h) float32 over the rest.
    """

    def __init__(self, memory: Tensor, sequences: int, width: int) -> None:
        self.memory = memory
        self.stamps = memory[:_FLOATS].view(torch.int64)
        self.vectors = memory[_FLOATS:].view(sequences, width)

    @staticmethod
    def size_for(sequences: int, width: int) -> int:
        """Elements that the memory must have."""
        return _FLOATS + sequences * width
