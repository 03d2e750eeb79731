# SPDX-License-Identifier: MIT
"""Mark the stages of a batch while it is queued on a device."""

from __future__ import annotations

from virnuc_profiler.inference.execution.output_buffers import OutputBuffers, OutputPair, TimestampedOutput
from virnuc_profiler.inference.marks import BatchMarks


class StageMarks:
    """The `ForwardMarks` of a batch: marks its stages and provides the output memory of its slot.

    Kernels that can record device timestamps do so, instead of events around them. An event on an idle stream completes
    before the host has launched the first kernel, up to 0.5 ms too early. And a replayed graph takes a few hundred
    microseconds, of which two events between one replay and the next cost the device three (8M model, H200).

    Args:
        marks: Receiver of the batch's stages.
        stream: Handle of the stream that computes; None on the CPU.
        output_buffers: Memory for the batch's vectors; None on the CPU.

    Attributes:
        outputs: Memory that the model was given, on the device and on the host; None if it did not ask for any.
        timestamped: The same memory if the device timestamps in it are wanted; else None.
    """

    __slots__ = ("_has_buffer", "_marks", "_output_buffers", "_stream", "outputs", "timestamped")

    def __init__(self, marks: BatchMarks, stream: int | None, output_buffers: OutputBuffers | None = None) -> None:
        self._marks = marks
        self._stream = stream
        self._output_buffers = output_buffers
        self._has_buffer = False
        self.outputs: OutputPair | None = None
        self.timestamped: OutputPair | None = None

    def output_buffer(self, sequences: int, hidden_size: int) -> TimestampedOutput | None:
        """Return the slot's memory for (B, h) vectors; None on the CPU and for further passes over the batch.

        Args:
            sequences: Number of sequences B.
            hidden_size: Size h of each vector.
        """
        self._has_buffer = self._output_buffers is not None and self.outputs is None
        if self._output_buffers is None or self.outputs is not None:
            return None
        self.outputs = self._output_buffers.pair(sequences, hidden_size)
        return self.outputs.device

    def begin_forward(self) -> None:
        """Start the stage "forward"."""
        self._marks.mark("forward", self._stream)

    def begin_pooling(self) -> None:
        """Start the stage "pool"."""
        self._marks.mark("pool", self._stream)

    def begin_pass(self, *, gapless: bool) -> None:
        """Start the stage "forward", which includes pooling. Its timestamps are read if this pass has the buffer.

        Args:
            gapless: Whether one launch queues all kernels of the pass.
        """
        if not self._has_buffer:
            self._marks.mark("forward", self._stream)
        elif self._marks.mark_device_timestamped("forward", self._stream, "d2h", gapless):
            self.timestamped = self.outputs
