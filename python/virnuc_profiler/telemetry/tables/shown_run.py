# SPDX-License-Identifier: MIT
"""What tables and displays use of a run; ``RunResult`` has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.records import DeviceCapture, GpuSamples


class ShownRun(Protocol):
    """A run. The attributes are those of ``RunResult``, which imports the modules that take this protocol."""

    @property
    def run_id(self) -> str:
        """Name of the run."""

    @property
    def started_at(self) -> str:
        """Start of the run."""

    @property
    def elapsed_s(self) -> float:
        """Wall time of the run in seconds."""

    @property
    def batches(self) -> BatchTable:
        """All batches that ended."""

    @property
    def device(self) -> DeviceCapture:
        """The device."""

    @property
    def gpu(self) -> GpuSamples | None:
        """Readings of the GPU, or None."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Facts about the run."""

    @property
    def total_sequences(self) -> int | None:
        """Number of sequences; None if it is unknown."""

    @property
    def total_tokens(self) -> int | None:
        """Number of tokens; None if it is unknown."""
