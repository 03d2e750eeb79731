# SPDX-License-Identifier: MIT
"""What a model tells while it queues a forward pass, so that the pass can be timed."""

from __future__ import annotations

from typing import Protocol

from virnuc_profiler.inference.batch_marks import BatchMarks
from virnuc_profiler.inference.stamped_vectors import Sides, StampedRoom, StampedVectors


class PassMarks(Protocol):
    """One of `launches` and `replays` is called, first and once."""

    def launches(self) -> None:
        """The forward's kernels are about to be launched one by one."""

    def pools(self) -> None:
        """The forward is queued, and pooling is about to be."""

    def replays(self, sequences: int, width: int) -> StampedVectors | None:
        """Forward and pooling are about to be queued as one piece.

        Returns:
            Room for the vectors, if the piece shall write down when it begins and ends.
        """


class NoPassMarks:
    """Nobody is told."""

    def launches(self) -> None:
        """Does nothing."""

    def pools(self) -> None:
        """Does nothing."""

    def replays(self, _sequences: int, _width: int) -> StampedVectors | None:
        """Does nothing."""
        return None


class StageMarks:
    """Marks the stages of a batch that is being recorded.

    A replay takes the device some hundred microseconds, and two events between one and the next cost it three of them
    (8M, H200): so its own kernels take the time.

    Args:
        marks: the batch's.
        stream: the one that computes; None on the CPU.
        room: for the vectors of a replay; None where nothing is replayed.

    Attributes:
        stamped: where a replay that was asked to take its own time leaves its vectors on the device, and where they go
            on the host.
    """

    __slots__ = ("_marks", "_room", "_stream", "stamped")

    def __init__(self, marks: BatchMarks, stream: int | None, room: StampedRoom | None = None) -> None:
        self._marks = marks
        self._stream = stream
        self._room = room
        self.stamped: Sides | None = None

    def launches(self) -> None:
        """Starts the stage "forward"."""
        self._marks.mark("forward", self._stream)

    def pools(self) -> None:
        """Starts the stage "pool"."""
        self._marks.mark("pool", self._stream)

    def replays(self, sequences: int, width: int) -> StampedVectors | None:
        """Starts the stage "forward", which has pooling in it."""
        if self._room is None:
            self._marks.mark("forward", self._stream)
            return None
        if not self._marks.mark_stamped("forward", self._stream, "d2h"):
            return None
        self.stamped = self._room.sides(sequences, width)
        return self.stamped.device
