# SPDX-License-Identifier: MIT
"""Collects batch records and writes a run's telemetry file."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from virnuc_profiler.errors import OutputError
from virnuc_profiler.telemetry.files import write_json_atomically
from virnuc_profiler.telemetry.schema import SCHEMA_VERSION, require_known_keys
from virnuc_profiler.telemetry.summary import SummaryTotals
from virnuc_profiler.telemetry.values import plain_items, shown

_MAX_FILE_NAME = 240
"""Bytes; file systems allow 255, and the temporary file beside it needs a few more."""


def _local_now() -> datetime:
    return datetime.now().astimezone()


class TelemetryLogger:
    """Writes ``output_dir/telemetry_{run_id}.json``. May be used from several threads.

    Args:
        output_dir: folder of the file; made if it is not there.
        run_id: a name that is safe in a file name; the local time as ``%Y%m%d_%H%M%S`` if left out. A run with the
            same name in the same folder is replaced.
        clock_ns: monotonic time in ns, from which ``elapsed_seconds`` counts; it starts when the logger is made.
        now: the time of day with its offset to UTC, for ``timestamp``.

    Attributes:
        run_metadata: free facts about the run (model, configuration, machine), JSON-able.

    Raises:
        ValueError: `run_id` cannot be part of a file name.
        OutputError: the folder cannot be made or written.
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
        self._start_ns = clock_ns()

    @property
    def path(self) -> Path:
        """The file that :meth:`finalize` writes."""
        return self.output_dir / f"telemetry_{self.run_id}.json"

    def set_run_metadata(self, **metadata: Any) -> None:
        """Adds to ``run_metadata``; a key that is there already is replaced.

        Raises:
            ValueError: a value holds NaN or infinity.
            TypeError: a value is nothing that JSON has.
        """
        plain = plain_items(metadata, "metadata")
        with self._lock:
            self.run_metadata.update(plain)

    def record_batch(self, batch_idx: int, metrics: Mapping[str, Any]) -> None:
        """Keeps a copy of a batch's metrics, with ``batch_idx`` and ``timestamp`` added.

        ``timestamp`` is now, as ISO 8601 with the offset to UTC, unless `metrics` brings its own (batches that are
        recorded after the run). Keys of the schema are checked, any other key is kept as it is; None stands for
        what was not measured.

        Raises:
            ValueError: a known key is of another type or out of range, or a value is NaN or infinite; the
                message names key and value.
            TypeError: a value is nothing that JSON has.
        """
        added = {"batch_idx": batch_idx, "timestamp": self._now().isoformat()}
        record = plain_items({**added, **metrics, "batch_idx": batch_idx}, "metrics")
        require_known_keys("batch", record)
        with self._lock:
            self._records.append(record)
            self._totals.add(record)

    def get_summary(self) -> dict[str, Any]:
        """The summary of the batches recorded so far, with the time since the logger was made."""
        with self._lock:
            return self._totals.summary(self._elapsed_seconds())

    def finalize(self, summary: Mapping[str, Any] | None = None) -> Path:
        """Writes the file, atomically. A second call writes it again, with what has come since.

        Args:
            summary: keys that replace or extend those of :meth:`get_summary`. Rates and projections are computed
                from a given ``elapsed_seconds`` (or totals), unless they are given too.

        Returns:
            The file's path.

        Raises:
            ValueError: a known key of `summary` is of another type or out of range; nothing is written.
            TypeError: a value is nothing that JSON has; nothing is written.
            OutputError: the file cannot be written.
        """
        given = plain_items(summary or {}, "summary")
        require_known_keys("summary", given)
        with self._lock:
            document = {
                "schema_version": SCHEMA_VERSION,
                "run_metadata": plain_items(self.run_metadata, "run_metadata"),
                "summary": self._totals.summary(self._elapsed_seconds(), given),
                "per_batch_metrics": list(self._records),
            }
        return write_json_atomically(self.path, document)

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
            f"cannot write into the output folder {folder}: {error.strerror or error}; choose another one"
        ) from error
