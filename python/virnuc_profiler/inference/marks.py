# SPDX-License-Identifier: MIT
"""The two interfaces through which inference reports its stages: of a batch, and of one forward pass inside it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from virnuc_profiler._core import PackStatistics, copy_async


class BatchMarks(Protocol):
    """The part of ``_core.Batch`` that the runner uses."""

    def mark(self, stage: str, stream: int | None = None, /) -> None:
        """End the running stage and start `stage`.

        Args:
            stage: Name of the stage.
            stream: Handle of the CUDA stream that the stage runs on; None for host work.
        """

    def mark_device_timestamped(self, stage: str, stream: int | None, followed_by: str, gapless: bool, /) -> bool:
        """Start a stage whose own kernels may record when they begin and end, instead of CUDA events.

        Args:
            stage: Name of the stage.
            stream: Handle of the CUDA stream that the stage runs on.
            followed_by: Name of the stage that will follow.
            gapless: Whether one launch queues all kernels of the stage.

        Returns:
            Whether the kernels must record device timestamps, for `set_device_timestamps`.
        """

    def copy(self, stage: str, stream: int, target: int, source: int, size: int, /) -> bool:
        """Run a stage that is one asynchronous copy: queue it, with nothing between it and the stage's events.

        Args:
            stage: Name of the stage.
            stream: Handle of the CUDA stream that copies.
            target: Address of the memory that is written, on the device or pinned on the host.
            source: Address of the memory that is read, on the device or pinned on the host.
            size: Number of bytes.

        Returns:
            Whether the copy was queued. If not, the caller must mark the stage and copy by other means.
        """

    def set_device_timestamps(self, start_ns: int, end_ns: int, /) -> None:
        """Set the device timestamps of the stage that `mark_device_timestamped` started.

        Args:
            start_ns: Time of ``%globaltimer`` when the stage's first kernel began.
            end_ns: Time of ``%globaltimer`` when its last kernel ended.
        """

    def end_stage(self) -> None:
        """End the running stage."""

    def record_interval(self, stage: str, start_ns: int, end_ns: int, /) -> None:
        """Add a host interval that was measured elsewhere.

        Args:
            stage: Name of the stage.
            start_ns: Start on the monotonic clock.
            end_ns: End on the monotonic clock.
        """

    def set_packing(self, statistics: PackStatistics, /) -> None:
        """Attach the packing statistics of the batch."""

    def end(self) -> None:
        """End the batch and keep its record."""

    def discard(self) -> None:
        """Drop the record of the batch."""


class NoMarks:
    """`BatchMarks` of a run without a profiler: every method is a no-op."""

    def mark(self, stage: str, stream: int | None = None, /) -> None:
        """No-op."""

    def mark_device_timestamped(self, _stage: str, _stream: int | None, _followed_by: str, _gapless: bool, /) -> bool:
        """Return False: nothing uses device timestamps."""
        return False

    def copy(self, _stage: str, stream: int, target: int, source: int, size: int, /) -> bool:
        """Queue the copy, at the same cost as in a profiled run."""
        return copy_async(target, source, size, stream)

    def set_device_timestamps(self, start_ns: int, end_ns: int, /) -> None:
        """No-op."""

    def end_stage(self) -> None:
        """No-op."""

    def record_interval(self, stage: str, start_ns: int, end_ns: int, /) -> None:
        """No-op."""

    def set_packing(self, statistics: PackStatistics, /) -> None:
        """No-op."""

    def end(self) -> None:
        """No-op."""

    def discard(self) -> None:
        """No-op."""


class PassOutput(Protocol):
    """Device memory for the results of one forward pass."""

    @property
    def vectors(self) -> Tensor:
        """(B, h) float32 memory for the pooled vectors."""

    @property
    def timestamps(self) -> Tensor:
        """(2,) int64 memory for the ``%globaltimer`` (ns) at the start of the pass and at its end."""


class ForwardMarks(Protocol):
    """Receiver of a forward pass's stages, and provider of the memory for its output.

    A pass calls either `begin_forward` and `begin_pooling`, or `begin_pass`. It calls `output_buffer` once, before it
    pools, and before `begin_pass`.
    """

    def output_buffer(self, sequences: int, hidden_size: int) -> PassOutput | None:
        """Return memory for the pooled vectors, or None if the pass must allocate its own.

        A batch has one buffer: further passes over the same batch receive None.

        Args:
            sequences: Number of sequences B.
            hidden_size: Size h of each vector.
        """

    def begin_forward(self) -> None:
        """Start the stage of the forward, before its kernels are launched one by one."""

    def begin_pooling(self) -> None:
        """Start the stage of the pooling, after the forward was queued."""

    def begin_pass(self, *, gapless: bool) -> None:
        """Start the one stage of a pass whose kernels write the timestamps of its output buffer, if it has one.

        Args:
            gapless: Whether one launch queues all kernels of the pass.
        """


class NoForwardMarks:
    """`ForwardMarks` of a pass that is not timed and allocates its own output."""

    def output_buffer(self, _sequences: int, _hidden_size: int) -> PassOutput | None:
        """Return None: there is no buffer."""
        return None

    def begin_forward(self) -> None:
        """No-op."""

    def begin_pooling(self) -> None:
        """No-op."""

    def begin_pass(self, *, gapless: bool) -> None:
        """No-op."""
