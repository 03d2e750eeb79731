# SPDX-License-Identifier: MIT
"""Writing the telemetry file of a run, and loading telemetry from a file, a saved run or a run in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from virnuc_profiler.analysis.model_cost import DeviceCeiling, ModelShape
from virnuc_profiler.analysis.summary.run_telemetry import telemetry_document
from virnuc_profiler.telemetry.files import write_json_atomically
from virnuc_profiler.telemetry.long_lists.run_document import read_document
from virnuc_profiler.telemetry.reader import current_telemetry
from virnuc_profiler.telemetry.run_result import RunResult, is_saved_run


def write_telemetry(
    run: RunResult,
    path: str | os.PathLike[str],
    *,
    shape: ModelShape | None = None,
    ceiling: DeviceCeiling | None = None,
) -> Path:
    """Write the telemetry file of a run, atomically.

    Args:
        run: Run to write.
        path: File to write. Missing folders are created.
        shape: Shape of the model, which gives ``achieved_tflops``; by default taken from the run's metadata.
        ceiling: Ceiling of the device, which gives ``mfu``; by default taken from the run's metadata.

    Returns:
        The path.

    Raises:
        OutputError: The file cannot be written.
        ValueError: The run's metadata contain NaN or infinity.
        TypeError: The run's metadata contain a type that JSON does not support.
    """
    return write_json_atomically(path, telemetry_document(run, shape=shape, ceiling=ceiling))


def load_telemetry(source: str | os.PathLike[str] | RunResult) -> dict[str, Any]:
    """Return the telemetry document of a telemetry file, a saved run, or a run in memory.

    Args:
        source: Path of a telemetry file or of a saved run, or a run.

    Raises:
        TelemetryFormatError: The file cannot be read, or is neither telemetry nor a saved run.
        ValueError: The metadata of a run in memory contain NaN or infinity.
        TypeError: The metadata of a run in memory contain a type that JSON does not support.
    """
    if isinstance(source, RunResult):
        return telemetry_document(source)
    document = read_document(source)
    if is_saved_run(document):
        return telemetry_document(RunResult.from_document(document, os.fspath(source)))
    return current_telemetry(document, os.fspath(source))
