# SPDX-License-Identifier: MIT
"""Memory that is used again for tensors of other sizes."""

from __future__ import annotations

import ctypes
from math import prod
from types import TracebackType
from typing import Any

import torch
from torch import Tensor


class GrowingBuffer:
    """Memory for tensors of any size, which is replaced by a larger piece when one does not fit.

    Sizes are powers of two, so that batches which grow bit by bit cost few allocations.

    Args:
        dtype: of its elements.
        options: device or pinning, as ``torch.empty`` takes them.
    """

    def __init__(self, dtype: torch.dtype, **options: Any) -> None:
        self.dtype = dtype
        self._options = options
        self._memory: Tensor | None = None

    def holds(self, size: int) -> bool:
        """Whether there is room for so many elements as it is."""
        return self._memory is not None and self._memory.numel() >= size

    def shaped(self, *shape: int) -> Tensor:
        """A tensor of that shape over this memory; it overlaps those that were asked for before."""
        size = prod(shape)
        memory = self._memory
        if memory is None or memory.numel() < size:
            memory = self._memory = None  # first, so that old and new never exist together
            memory = torch.empty(1 << max(0, size - 1).bit_length(), dtype=self.dtype, **self._options)
            self._memory = memory
        part = memory.narrow(0, 0, size)  # as memory[:size], in half the time, which is counted in microseconds
        return part if len(shape) == 1 else part.view(shape)


class OnStream:
    """Has work queued, and memory allocated, on `stream`; afterwards on the current one again.

    Like ``torch.cuda.stream``, but told what the current one is. Finding that out takes as long as queueing a copy.
    """

    __slots__ = ("_current", "_stream")

    def __init__(self, stream: torch.cuda.Stream, current: torch.cuda.Stream) -> None:
        self._stream, self._current = stream, current

    def __enter__(self) -> None:
        torch.cuda.set_stream(self._stream)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        torch.cuda.set_stream(self._current)


def leak_forever(*owners: object) -> None:
    """Keeps objects, and so the memory that they hold, until the process ends; Python does not free them even then."""
    for owner in owners:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))
