# SPDX-License-Identifier: MIT
"""Files of a folder that a sweep is about to replace: what no journal holds is kept under another name."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.steps import BEST_CONFIG_FILE
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.result_files import read_best, read_step, trial_paths
from virnuc_profiler.sweep.results.sweep_record import SweepRecord
from virnuc_profiler.telemetry.files import move_aside

_log = logging.getLogger(__name__)


def keep_unless_in_journal(path: Path, records: Sequence[SweepRecord]) -> bool:
    """Move a result file aside unless the folder's journal holds its results.

    Args:
        path: The file, which is about to be replaced or removed.
        records: Sweeps of the journal.

    Returns:
        Whether the file is still there, because nothing would be lost with it.

    Raises:
        OutputError: The file cannot be renamed.
    """
    if not path.is_file():
        return path.exists()
    if _is_in_journal(path, records):
        return True
    kept = move_aside(path, "not-in-journal")
    if kept is not None:
        _log.warning("%s is of no sweep in the folder's journal: it is kept as %s", path, kept.name)
    return False


def keep_earlier_run(folder: Path, run_id: str, started: str) -> None:
    """Move the files of a trial aside that are older than the sweep, since its own trial of that name replaces them.

    Args:
        folder: Folder of the trial's files.
        run_id: Id of the run.
        started: When the sweep began, ISO 8601.

    Raises:
        OutputError: A file cannot be renamed.
    """
    began = datetime.fromisoformat(started).timestamp()
    for path in trial_paths(folder, run_id):
        if path.exists() and path.stat().st_mtime < began:
            move_aside(path, "earlier")


def _is_in_journal(path: Path, records: Sequence[SweepRecord]) -> bool:
    try:
        results = (read_best(path).validation,) if path.name == BEST_CONFIG_FILE else read_step(path).results
    except TelemetryFormatError:
        return False
    known = [trial.result for record in records for trial in record.trials]
    return bool(known) and all(_as_measured(result) in known for result in results)


def _as_measured(result: Result) -> Result:
    """Return a result without what its document adds to it."""
    return replace(result, speedup=None, standing=None, measured_under=None)
