# SPDX-License-Identifier: MIT
"""A logger that collects batch records and writes the telemetry file of a run."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from virnuc_profiler.errors import OutputError, folder_problem
from virnuc_profiler.telemetry.files import write_json_atomically
from virnuc_profiler.telemetry.migrations import TELEMETRY
from virnuc_profiler.telemetry.schema import require_known_keys
from virnuc_profiler.telemetry.summary import SummaryTotals
from virnuc_profiler.telemetry.values import plain_items, shown

_MAX_FILE_NAME = 240
"""Limit in bytes. File systems allow 255, and the name of the temporary file is longer by a few."""


def _local_now() -> datetime:
    return datetime.now().astimezone()


class TelemetryLogger:
    """Collects the metrics of a run and writes ``output_dir/telemetry_{run_id}.json``. Thread-safe.

    Args:
        output_dir: Folder of the file, created if it does not exist.
        run_id: Name of the run, part of the file name; by default the local time as ``%Y%m%d_%H%M%S``. An existing
            file of the same name is replaced.
        clock_ns: Function that returns monotonic time in ns. ``elapsed_seconds`` counts from the construction of the
            logger.
        now: Function that returns the time of day with its UTC offset, used for ``timestamp``.

    Attributes:
        run_metadata: Facts about the run (model, configuration, machine), as plain JSON values.

    Raises:
        ValueError: `run_id` cannot be part of a file name.
        OutputError: The folder cannot be created or written.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        run_id: str | None = None,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        now: Callable[[], datetime] = _local_now,
    ) -> None:
        self._clock_ns = clock_ns
        self._now = now
        self.run_id = _require_run_id(now().strftime("%Y%m%d_%H%M%S") if run_id is None else run_id)
        self.output_dir = _require_writable(Path(output_dir))
        self.run_metadata: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._records: list[dict[str, Any]] = []
        self._totals = SummaryTotals()
        self._final_summary: dict[str, Any] | None = None
        self._start_ns = clock_ns()

    @property
    def path(self) -> Path:
        """Path of the file that :meth:`finalize` writes."""
        return self.output_dir / f"telemetry_{self.run_id}.json"

    @property
    def final_summary(self) -> dict[str, Any]:
        """Summary that the last call of :meth:`finalize` wrote.

        Raises:
            RuntimeError: The file has not been written yet.
        """
        if self._final_summary is None:
            raise RuntimeError(f"{self.path} has not been written; call finalize() first, or use get_summary()")
        return dict(self._final_summary)

    def set_run_metadata(self, **metadata: Any) -> None:
        """Add entries to ``run_metadata``, replacing existing keys.

        Args:
            **metadata: Entries to add. NumPy values, paths and dates are converted to plain JSON values.

        Raises:
            ValueError: A value contains NaN or infinity.
            TypeError: A value has a type that JSON does not support.
        """
        plain = plain_items(metadata, "metadata")
        with self._lock:
            self.run_metadata.update(plain)

    def record_batch(self, batch_idx: int, metrics: Mapping[str, Any]) -> None:
        """Record the metrics of one batch.

        Args:
            batch_idx: Index of the batch.
            metrics: Metrics of the batch, with None for what was not measured. Keys of the schema are checked, and
                other keys are kept. ``timestamp`` defaults to the current time as ISO 8601 with the UTC offset.

        Raises:
            ValueError: A known key has a value of the wrong type or out of range, or a value is NaN or infinite. The
                message names the key and the value.
            TypeError: `metrics` is not a mapping, or a value has a type that JSON does not support.
        """
        if not isinstance(metrics, Mapping):
            raise TypeError(
                f"metrics is {shown(metrics)}; pass a mapping of names to values, such as {{'num_tokens': 4096}}"
            )
        added = {"batch_idx": batch_idx, "timestamp": self._now().isoformat()}
        record = plain_items({**added, **metrics, "batch_idx": batch_idx}, "metrics")
        require_known_keys("batch", record)
        with self._lock:
            self._records.append(record)
            self._totals.add(record)

    def get_summary(self) -> dict[str, Any]:
        """Return the summary of the batches recorded so far, and the time since the logger was created."""
        with self._lock:
            return self._totals.summary(self._elapsed_seconds())

    def finalize(self, summary: Mapping[str, Any] | None = None) -> Path:
        """Write the file, atomically. A later call replaces it with one that includes later batches.

        Args:
            summary: Keys that replace or extend those of :meth:`get_summary`. Rates and projections follow from the
                totals and ``elapsed_seconds`` given here, unless they are given too.

        Returns:
            Path of the file. :attr:`final_summary` is the summary in it.

        Raises:
            ValueError: A known key of `summary` has a value of the wrong type or out of range. Nothing is written.
            TypeError: A value has a type that JSON does not support. Nothing is written.
            OutputError: The file cannot be written.
        """
        given = plain_items(summary or {}, "summary")
        require_known_keys("summary", given)
        with self._lock:
            document: dict[str, Any] = {
                "schema_version": TELEMETRY.version,
                "run_metadata": plain_items(self.run_metadata, "run_metadata"),
                "summary": self._totals.summary(self._elapsed_seconds(), given),
                "per_batch_metrics": list(self._records),
            }
        path = write_json_atomically(self.path, document)
        self._final_summary = document["summary"]
        return path

    def _elapsed_seconds(self) -> float:
        return (self._clock_ns() - self._start_ns) / 1e9


def _require_run_id(run_id: str) -> str:
    if not isinstance(run_id, str):
        raise TypeError(f"run_id is {shown(run_id)}; it must be a string")
    if not run_id or not run_id.isprintable() or "/" in run_id or "\\" in run_id:
        raise ValueError(f"run_id {shown(run_id)} cannot be part of a file name; use letters, digits, '_', '-' and '.'")
    if len(f"telemetry_{run_id}.json".encode()) > _MAX_FILE_NAME:
        raise ValueError(f"run_id {shown(run_id)} is too long; its file name may have {_MAX_FILE_NAME} bytes")
    return run_id


def _require_writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise OutputError(
            f"cannot write into the output folder {folder}: {folder_problem(error)}; choose another one"
        ) from error
