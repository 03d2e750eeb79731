# SPDX-License-Identifier: MIT
"""Memory for the vectors of a forward pass, with space for the device timestamps of its start and end."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

from virnuc_profiler.inference.execution.buffers import GrowingBuffer
from virnuc_profiler.inference.execution.streams import OnStream

_TIMESTAMPS: Final = 2
_TIMESTAMP_FLOATS: Final = _TIMESTAMPS * 2
"""Size of the two 64-bit timestamps in float32 elements."""
_MAX_SHAPES: Final = 1024
"""Number of shapes for which tensors are kept, at 3.5 kB each."""


class TimestampedOutput:
    """One vector per sequence behind the pass's two device timestamps, so that one copy to the host moves both.

    Args:
        memory: Contiguous float32 memory of :meth:`size_for` elements.
        sequences: Number of sequences B.
        hidden_size: Size h of each vector.

    Attributes:
        memory: The memory as it was passed.
        timestamps: (2,) int64 view of the memory's first bytes: start and end of the pass in ns of ``%globaltimer``.
        vectors: (B, h) float32 view of the rest.
    """

    def __init__(self, memory: Tensor, sequences: int, hidden_size: int) -> None:
        self.memory = memory
        self.timestamps = memory[:_TIMESTAMP_FLOATS].view(torch.int64)
        self.vectors = memory[_TIMESTAMP_FLOATS:].view(sequences, hidden_size)

    @staticmethod
    def size_for(sequences: int, hidden_size: int) -> int:
        """Return the number of float32 elements that the memory must have.

        Args:
            sequences: Number of sequences.
            hidden_size: Size of each vector.
        """
        return _TIMESTAMP_FLOATS + sequences * hidden_size

    def times(self) -> tuple[int, int]:
        """Return start and end of the pass in ns; the memory must be on the host."""
        first, last = self.timestamps.tolist()
        return first, last


class OutputPair(NamedTuple):
    """Memory for the same vectors on the device, where they are computed, and on the host, where they are copied."""

    device: TimestampedOutput
    host: TimestampedOutput


class OutputBuffers:
    """Memory for the vectors of one batch at a time, on the device and pinned on the host.

    Both the memory and the tensors over it are kept. Creating them for each batch would take the host about 15 µs, a
    thirtieth of the time in which a GPU puts a batch of 4,096 tokens through the smallest model.

    The device memory is allocated from the pool of `stream`, not of the stream that computes. Vectors outlive their
    forward: inside the memory that a forward frees, they would fragment it for the next one.

    Args:
        device: CUDA device.
        stream: Stream that copies the vectors to the host.
    """

    def __init__(self, device: torch.device, stream: torch.cuda.Stream) -> None:
        self._device = device
        self._stream = stream
        self._on_device = GrowingBuffer(torch.float32, device=device)
        self._pinned = GrowingBuffer(torch.float32, pin_memory=True)
        self._pairs: dict[tuple[int, int], OutputPair] = {}
        self._last_times = 0, 0

    def times(self, output: TimestampedOutput) -> tuple[int, int]:
        """Return start and end of the latest pass in ns; zeros if `output` holds those of an earlier pass.

        It does if a pass failed before its first kernel, and the model then computed the vectors in another way.

        Args:
            output: Host memory of a pair, after the copy to the host.
        """
        last, self._last_times = self._last_times, output.times()
        return (0, 0) if self._last_times == last else self._last_times

    def pair(self, sequences: int, hidden_size: int) -> OutputPair:
        """Return memory for (B, h) vectors; it overlaps every pair returned before.

        Args:
            sequences: Number of sequences B.
            hidden_size: Size h of each vector.
        """
        found = self._pairs.get((sequences, hidden_size))
        if found is None:
            size = TimestampedOutput.size_for(sequences, hidden_size)
            if len(self._pairs) == _MAX_SHAPES:
                self._pairs.clear()
            if not self._on_device.holds(size):
                self._grow(size)
            memories = self._on_device.shaped(size), self._pinned.shaped(size)
            found = OutputPair(*(TimestampedOutput(memory, sequences, hidden_size) for memory in memories))
            self._pairs[sequences, hidden_size] = found
        return found

    def _grow(self, size: int) -> None:
        self._pairs.clear()  # they refer to the memory that is about to be replaced
        current = torch.cuda.current_stream(self._device)
        with OnStream(self._stream, current):
            self._on_device.shaped(size)[:_TIMESTAMP_FLOATS].zero_()  # other slots' timestamps may have lain there
        current.wait_stream(self._stream)  # the new memory may be reused memory that work on that stream still reads
