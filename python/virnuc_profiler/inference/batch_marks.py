# SPDX-License-Identifier: MIT
"""What the runner asks of a batch that is being recorded."""

from typing import Protocol

from virnuc_profiler._core import PackStatistics


class BatchMarks(Protocol):
    """The part of ``_core.Batch`` that the runner uses."""

    def mark(self, stage: str, stream: int | None = None, /) -> None:
        """Ends the running stage and starts another."""

    def mark_stamped(self, stage: str, stream: int | None, followed_by: str, /) -> bool:
        """As `mark`; whether the stage's own kernels shall write down when they begin and end."""

    def set_stamps(self, start_ns: int, end_ns: int, /) -> None:
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

    def mark_stamped(self, _stage: str, _stream: int | None, _followed_by: str, /) -> bool:
        """Does nothing."""
        return False

    def set_stamps(self, start_ns: int, end_ns: int, /) -> None:
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
