# SPDX-License-Identifier: MIT
"""The vectors of a pass, and in the same memory when the device began and ended it, if it was asked."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

from virnuc_profiler.inference.execution.buffers import GrowingBuffer, OnStream

_STAMPS: Final = 2
_FLOATS: Final = _STAMPS * 2
"""What they take of fp32 memory: each has 64 bits."""
_MAX_SHAPES: Final = 1024
"""For which tensors are kept, 3.5 kB each."""


class TimestampedOutput:
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

    def times(self) -> tuple[int, int]:
        """First and last moment, if this is memory of the host."""
        first, last = self.stamps.tolist()
        return first, last


class Sides(NamedTuple):
    """The same vectors where they are made, and where they go."""

    device: TimestampedOutput
    host: TimestampedOutput


class OutputBuffers:
    """Memory for the vectors of one batch at a time, on the device and pinned on the host.

    It is kept, and so are the tensors over it: making them anew for each batch would take the host some 15 µs, a
    thirtieth of the time in which a GPU puts a batch of 4,096 tokens through the smallest model.

    On the device it comes from what the allocator keeps for `stream`, not for the one that computes. Vectors outlive
    their forward: cut from the memory that it leaves, they would keep the next forward from having that in one piece.

    Args:
        device: a CUDA device.
        stream: the one that copies the vectors out.
    """

    def __init__(self, device: torch.device, stream: torch.cuda.Stream) -> None:
        self._device = device
        self._stream = stream
        self._on_device = GrowingBuffer(torch.float32, device=device)
        self._pinned = GrowingBuffer(torch.float32, pin_memory=True)
        self._sides: dict[tuple[int, int], Sides] = {}

    def sides(self, sequences: int, width: int) -> Sides:
        """For (B, h) vectors, over the memory of all those asked for before."""
        found = self._sides.get((sequences, width))
        if found is None:
            size = TimestampedOutput.size_for(sequences, width)
            if len(self._sides) == _MAX_SHAPES:
                self._sides.clear()
            if not self._on_device.holds(size):
                self._grow(size)
            sides = self._on_device.shaped(size), self._pinned.shaped(size)
            found = Sides(*(TimestampedOutput(memory, sequences, width) for memory in sides))
            self._sides[sequences, width] = found
        return found

    def _grow(self, size: int) -> None:
        self._sides.clear()  # they hold the memory that is about to be replaced
        current = torch.cuda.current_stream(self._device)
        with OnStream(self._stream, current):
            self._on_device.shaped(size)
        current.wait_stream(self._stream)  # memory that was given back there is free only after what is queued there
