# SPDX-License-Identifier: MIT
"""What the runner asks of a batch that is being recorded."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from virnuc_profiler._core import PackStatistics


class BatchMarks(Protocol):
    """The part of ``_core.Batch`` that the runner uses."""

    def mark(self, stage: str, stream: int | None = None, /) -> None:
        """Ends the running stage and starts another."""

    def mark_device_timestamped(self, stage: str, stream: int | None, followed_by: str, /) -> bool:
        """As `mark`; whether the stage's own kernels shall write down when they begin and end."""

    def set_device_timestamps(self, start_ns: int, end_ns: int, /) -> None:
        """What they wrote."""

    def end_stage(self) -> None:
        """Ends the running stage."""

    def record_interval(self, stage: str, start_ns: int, end_ns: int, /) -> None:
        """Adds an interval that was measured elsewhere."""

    def set_packing(self, statistics: PackStatistics, /) -> None:
        """Attaches packing statistics."""

    def end(self) -> None:
        """Ends the batch."""

    def discard(self) -> None:
        """Takes the batch back."""


class NoMarks:
    """Records nothing: a run without a profiler."""

    def mark(self, stage: str, stream: int | None = None, /) -> None:
        """Does nothing."""

    def mark_device_timestamped(self, _stage: str, _stream: int | None, _followed_by: str, /) -> bool:
        """Does nothing."""
        return False

    def set_device_timestamps(self, start_ns: int, end_ns: int, /) -> None:
        """Does nothing."""

    def end_stage(self) -> None:
        """Does nothing."""

    def record_interval(self, stage: str, start_ns: int, end_ns: int, /) -> None:
        """Does nothing."""

    def set_packing(self, statistics: PackStatistics, /) -> None:
        """Does nothing."""

    def end(self) -> None:
        """Does nothing."""

    def discard(self) -> None:
        """Does nothing."""


class PassMarks(Protocol):
    """One of `launches` and `replays` is called for each pass, and `room` before the vectors are queued."""

    def output_buffer(self, sequences: int, width: int) -> Tensor | None:
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

    def output_buffer(self, _sequences: int, _width: int) -> Tensor | None:
        """There is none."""
        return None

    def launches(self) -> None:
        """Does nothing."""

    def pools(self) -> None:
        """Does nothing."""

    def replays(self) -> Tensor | None:
        """Does nothing."""
        return None
