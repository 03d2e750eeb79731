# SPDX-License-Identifier: MIT
"""Memory that is reused for tensors of other sizes."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor


class GrowingBuffer:
    """Memory for one tensor of any size at a time, reallocated when a tensor does not fit.

    Sizes are powers of two, so that batches that grow bit by bit cause few allocations.

    Args:
        dtype: Data type of the elements.
        options: Device or pinning, as for ``torch.empty``.
    """

    def __init__(self, dtype: torch.dtype, **options: Any) -> None:
        self.dtype = dtype
        self._options = options
        self._memory: Tensor | None = None

    def holds(self, size: int) -> bool:
        """Return whether `size` elements fit without a new allocation."""
        return self._memory is not None and self._memory.numel() >= size

    def shaped(self, *shape: int) -> Tensor:
        """Return a tensor of `shape` in this memory; it overlaps every tensor returned before."""
        size = prod(shape)
        memory = self._memory
        if memory is None or memory.numel() < size:
            memory = self._memory = None  # first, so that the old and the new memory never exist together
            memory = torch.empty(1 << max(0, size - 1).bit_length(), dtype=self.dtype, **self._options)
            self._memory = memory
        part = memory.narrow(0, 0, size)  # memory[:size] takes twice as long, and microseconds count here
        return part if len(shape) == 1 else part.view(shape)
