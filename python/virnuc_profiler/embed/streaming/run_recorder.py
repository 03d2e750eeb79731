# SPDX-License-Identifier: MIT
"""The profile of a process that may run for days: parts of a bounded number of batches, each saved as a run.

A recorded batch takes about 420 bytes while the run goes on, but 10 kB while its files are written, and writing takes
0.12 ms. So that memory stays flat and no end of a job is spent on files, a part ends at the first shard after
`MAX_BATCHES` batches or an hour, and a thread writes it while the next part runs. Most jobs have one part.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.analysis.model_cost import ModelShape
from virnuc_profiler.capture.profiler import BatchProfiler
from virnuc_profiler.embed.job_folder import TELEMETRY_FOLDER
from virnuc_profiler.errors import OutputError
from virnuc_profiler.sweep.trial.run_files import record_run, run_path
from virnuc_profiler.telemetry.files import move_aside
from virnuc_profiler.telemetry.logger import TelemetryLogger
from virnuc_profiler.telemetry.run_result import RunResult

MAX_BATCHES: Final = 50_000
"""Batches of a part. On an H200, 50,000 batches of 16,384 tokens take the 650M model 37 minutes."""
MAX_PART_S: Final = 3600.0
"""Seconds of a part: the readings of the GPU grow with time, by about 5 MB per hour."""

_log = logging.getLogger(__name__)


class RunRecorder:
    """Profiles the batches of a rank, and writes telemetry and run of each part.

    Args:
        folder: Folder of the job.
        rank: Name of the rank.
        device: Device to profile.
        shape: Shape of the model, for its arithmetic.

    Attributes:
        profiler: The profiler of all parts.
        paths: Telemetry files that were written so far.
        running: Whether a part has begun and not ended.
    """

    def __init__(self, folder: Path, rank: str, device: Any, shape: ModelShape | None) -> None:
        self.profiler = BatchProfiler(device=device, run_id=f"embed_rank_{rank}")
        self.paths: list[Path] = []
        self._folder = folder / TELEMETRY_FOLDER
        self._run_id = f"embed_rank_{rank}"
        self._shape = shape
        self._parts = 0
        self._thread: threading.Thread | None = None
        self.running = False
        self._began_s = 0.0

    def is_full(self, batches: int) -> bool:
        """Return whether the part is long enough to be ended.

        Args:
            batches: Batches of the part so far.
        """
        return batches >= MAX_BATCHES or time.monotonic() - self._began_s >= MAX_PART_S

    def begin_part(self) -> None:
        """Begin to profile.

        Raises:
            CudaError: The device cannot be used.
        """
        self.profiler.start()
        self.running = True
        self._began_s = time.monotonic()

    def end_part(self, metadata: Mapping[str, Any]) -> RunResult:
        """End the part that runs, and write its files in a thread.

        Args:
            metadata: What the files say of the part.

        Returns:
            The part.
        """
        run = self.profiler.stop()
        self.running = False
        if self._parts and not len(run.batches):
            return run  # the part before it was the last
        self._parts += 1
        run_id = self._run_id if self._parts == 1 else f"{self._run_id}_part_{self._parts}"
        run = dataclasses.replace(run, run_id=run_id, metadata=dict(metadata))
        self.join()  # two parts at once would take twice the memory
        self._thread = threading.Thread(target=self._write, args=(run,), name="run-recorder")
        self._thread.start()
        return run

    def join(self) -> None:
        """Wait until everything is written."""
        if self._thread is not None:
            self._thread.join()

    def _write(self, run: RunResult) -> None:
        try:
            logger = TelemetryLogger(self._folder, run.run_id)
            for path in (logger.path, run_path(logger.path)):
                move_aside(path, "earlier")  # of an earlier process of this rank
            self.paths.append(record_run(logger, run, self._shape))
        except OutputError as error:  # the vectors are worth more than the record of how they were made
            _log.warning("the telemetry of %s is not written: %s", run.run_id, error)
