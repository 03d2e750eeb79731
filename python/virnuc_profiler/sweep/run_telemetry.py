# SPDX-License-Identifier: MIT
"""From a profiled run to its telemetry file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from virnuc_profiler.analysis.batch_metrics import metrics_of_run
from virnuc_profiler.analysis.run_summary import run_summary
from virnuc_profiler.telemetry.logger import TelemetryLogger
from virnuc_profiler.telemetry.run_result import RunResult


def record_run(
    logger: TelemetryLogger, run: RunResult, *, layers: int | None = None, hidden: int | None = None
) -> Path:
    """Writes a run twice: as telemetry, and whole as ``run_{run_id}.json`` beside it.

    Args:
        logger: gives the folder and the name; it must not have recorded anything.
        run: what was measured, finished or not.
        layers: of the model; with `hidden` the summary says how many FLOPs were reached.
        hidden: width of the model.

    Returns:
        The path of the telemetry file.

    Raises:
        OutputError: one of the files cannot be written.
    """
    logger.set_run_metadata(**run.metadata, started_at=run.started_at, device=run.device.name)
    logger.set_run_metadata(device_capture=asdict(run.device))
    for index, metrics in metrics_of_run(run):
        logger.record_batch(index, metrics)
    run.save(run_path(logger.path))
    return logger.finalize(run_summary(run, layers=layers, hidden=hidden))


def run_path(telemetry_path: Path) -> Path:
    """Where the whole run lies, beside its telemetry file."""
    return telemetry_path.with_name(telemetry_path.name.replace("telemetry_", "run_", 1))
