# SPDX-License-Identifier: MIT
"""The files that a run leaves: its telemetry, and the whole run beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from virnuc_profiler.analysis.summary.batch_metrics import metrics_of_run
from virnuc_profiler.analysis.summary.run_summary import run_summary
from virnuc_profiler.capture.calibration import Ceiling
from virnuc_profiler.capture.calibration_store import load_ceiling
from virnuc_profiler.telemetry.logger import TelemetryLogger
from virnuc_profiler.telemetry.run_result import RunResult


def record_run(
    logger: TelemetryLogger, run: RunResult, *, layers: int | None = None, hidden: int | None = None
) -> Path:
    """Write a run twice: as telemetry, and whole as ``run_{run_id}.json`` beside it.

    Args:
        logger: Logger that gives folder and name; it must not have recorded anything.
        run: What was measured, finished or not.
        layers: Number of layers of the model. With `hidden` the summary names the FLOPs that were reached, and their
            share of the ceiling that ``doctor --calibrate`` measured on this device, if it did.
        hidden: Hidden size of the model.

    Returns:
        Path of the telemetry file.

    Raises:
        OutputError: One of the files cannot be written.
    """
    ceiling = stored_ceiling(run)
    model: dict[str, Any] = {  # under the names that run_summary gives them
        "layers": layers,
        "hidden": hidden,
        "ceiling_flops_per_second": None if ceiling is None else ceiling.flops_per_second,
        "ceiling_sm_clock_mhz": None if ceiling is None else ceiling.sm_clock_mhz,
    }
    run = replace(run, metadata={**run.metadata, "model_arithmetic": model})  # so that a saved run can be diagnosed
    logger.set_run_metadata(**run.metadata, started_at=run.started_at, device=run.device.name)
    logger.set_run_metadata(device_capture=asdict(run.device))
    for index, metrics in metrics_of_run(run):
        logger.record_batch(index, metrics)
    run.save(run_path(logger.path))
    return logger.finalize(run_summary(run, **model))


def stored_ceiling(run: RunResult) -> Ceiling | None:
    """Return what the run's device was calibrated at with its driver and PyTorch; None if it was not."""
    hardware = run.metadata.get("hardware")
    known: Mapping[str, Any] = hardware if isinstance(hardware, Mapping) else {}
    return load_ceiling(
        run.device.uuid,
        run.metadata.get("precision"),
        driver_version=known.get("driver_version"),
        torch_version=known.get("torch_version"),
    )


def run_path(telemetry_path: Path) -> Path:
    """Return the path of the whole run, beside its telemetry file."""
    return telemetry_path.with_name(telemetry_path.name.replace("telemetry_", "run_", 1))
