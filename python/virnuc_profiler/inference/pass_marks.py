# SPDX-License-Identifier: MIT
"""What a model tells while it queues a forward pass, so that the pass can be timed."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from virnuc_profiler.inference.batch_marks import BatchMarks
from virnuc_profiler.inference.stamped_vectors import Sides, VectorRoom


class PassMarks(Protocol):
    """One of `launches` and `replays` is called for each pass, and `room` before the vectors are queued."""

    def room(self, sequences: int, width: int) -> Tensor | None:
        """Where the pass may leave its vectors, (B, h) float32 on the device; None for memory of its own.

        It is given once for a batch: a model that makes several passes of it gets None for the others.
        """

    def launches(self) -> None:
        """The forward's kernels are about to be launched one by one."""

    def pools(self) -> None:
        """The forward is queued, and pooling is about to be."""

    def replays(self) -> Tensor | None:
        """Forward and pooling are about to be queued as one piece, which leaves its vectors in that room, if any.

        Returns:
            (2,) int64 on the device, where the piece shall write down when it begins and ends; None if it shall not.
        """


class NoPassMarks:
    """Nobody is told."""

    def room(self, _sequences: int, _width: int) -> Tensor | None:
        """There is none."""
        return None

    def launches(self) -> None:
        """Does nothing."""

    def pools(self) -> None:
        """Does nothing."""

    def replays(self) -> Tensor | None:
        """Does nothing."""
        return None


class StageMarks:
    """Marks the stages of a batch that is being recorded.

    A replay takes the device some hundred microseconds, and two events between one and the next cost it three of them
    (8M, H200): so its own kernels take the time.

    Args:
        marks: the batch's.
        stream: the one that computes; None on the CPU.
        vectors: room for the batch's vectors; None on the CPU.

    Attributes:
        sides: the room that the model was given, on the device and on the host; None if it asked for none.
        stamped: the same room once a pass was asked to leave its own times there; None if none was.
    """

    __slots__ = ("_marks", "_stream", "_vectors", "sides", "stamped")

    def __init__(self, marks: BatchMarks, stream: int | None, vectors: VectorRoom | None = None) -> None:
        self._marks = marks
        self._stream = stream
        self._vectors = vectors
        self.sides: Sides | None = None
        self.stamped: Sides | None = None

    def room(self, sequences: int, width: int) -> Tensor | None:
        """Of the batch's slot."""
        if self._vectors is None or self.sides is not None:
            return None
        self.sides = self._vectors.sides(sequences, width)
        return self.sides.device.vectors

    def launches(self) -> None:
        """Starts the stage "forward"."""
        self._marks.mark("forward", self._stream)

    def pools(self) -> None:
        """Starts the stage "pool"."""
        self._marks.mark("pool", self._stream)

    def replays(self) -> Tensor | None:
        """Starts the stage "forward", which has pooling in it."""
        if self.sides is None or self.stamped is not None:  # there is room for the times of one pass
            self._marks.mark("forward", self._stream)
            return None
        if not self._marks.mark_stamped("forward", self._stream, "d2h"):
            return None
        self.stamped = self.sides
        return self.stamped.device.stamps
