# SPDX-License-Identifier: MIT
"""What a trial measures: a source of batches, which is the built-in pipeline or any target."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from virnuc_profiler.capture.profiler import BatchProfiler


@dataclass(frozen=True, slots=True)
class DoneBatch:
    """A batch whose results were delivered.

    Attributes:
        sequences: Number of its sequences.
        tokens: Number of their tokens; an estimate where the source does not know it.
    """

    sequences: int
    tokens: int


class BatchSource(Protocol):
    """One run of a program over a workload, from its creation to the release of all that it holds.

    A trial opens the source, runs it once, and closes it, whatever happens in between.
    """

    @property
    def stages(self) -> Sequence[str]:
        """Names of the stages that the run marks."""

    @property
    def num_workers(self) -> int:
        """Number of worker processes that the configuration asks for; 0 if that is unknown."""

    @property
    def passes(self) -> int:
        """Number of passes over the workload that have begun."""

    def open(self) -> None:
        """Make what the run needs. What exists before this call is not the run's."""

    def run(self, profiler: BatchProfiler, deadline_ns: int | None) -> Generator[DoneBatch, None, None]:
        """Run all sequences of all passes. Closing the generator ends the run early.

        Args:
            profiler: Running profiler that records the batches.
            deadline_ns: Time on the monotonic clock after which no batch is to begin; None for no limit.

        Raises:
            DeadlineExceeded: The deadline has passed.
        """

    def counts(self) -> Mapping[str, int | None]:
        """Return ``truncated_sequences`` and ``unknown_residues``; None if they were not counted."""

    def findings(self) -> Mapping[str, Any]:
        """Return what the run has found out about the program, for the telemetry file."""

    def worker_pids(self) -> Collection[int]:
        """Return the process ids of the workers that the source knows of."""

    def close(self) -> None:
        """End what the run has started, and drop all that it holds."""
