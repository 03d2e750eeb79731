# SPDX-License-Identifier: MIT
"""The stages of a batch while it is queued on a device."""

from __future__ import annotations

from torch import Tensor

from virnuc_profiler.inference.execution.vectors import OutputBuffers, Sides
from virnuc_profiler.inference.marks import BatchMarks


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

    def __init__(self, marks: BatchMarks, stream: int | None, vectors: OutputBuffers | None = None) -> None:
        self._marks = marks
        self._stream = stream
        self._vectors = vectors
        self.sides: Sides | None = None
        self.stamped: Sides | None = None

    def output_buffer(self, sequences: int, width: int) -> Tensor | None:
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
        if not self._marks.mark_device_timestamped("forward", self._stream, "d2h"):
            return None
        self.stamped = self.sides
        return self.stamped.device.stamps
