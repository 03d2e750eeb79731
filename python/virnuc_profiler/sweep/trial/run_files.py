# SPDX-License-Identifier: MIT
"""The files that a run leaves: its telemetry, and the whole run beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from virnuc_profiler.analysis.model_cost import DeviceCeiling, ModelShape, arithmetic_metadata
from virnuc_profiler.analysis.summary.batch_metrics import metrics_of_run
from virnuc_profiler.analysis.summary.run_summary import run_summary
from virnuc_profiler.analysis.summary.run_telemetry import telemetry_metadata
from virnuc_profiler.capture.calibration import Ceiling
from virnuc_profiler.capture.calibration_store import load_ceiling
from virnuc_profiler.telemetry.logger import TelemetryLogger
from virnuc_profiler.telemetry.run_result import RunResult


def model_shape(model: Any) -> ModelShape | None:
    """Return the shape of a model; None if it does not have the attributes of an ESM-2 model.

    Args:
        model: Model of this package or of fair-esm, which calls its hidden size ``embed_dim``.
    """
    num_layers = getattr(model, "num_layers", None)
    hidden_size = getattr(model, "hidden_size", getattr(model, "embed_dim", None))
    return None if num_layers is None or hidden_size is None else ModelShape(num_layers, hidden_size)


def record_run(logger: TelemetryLogger, run: RunResult, shape: ModelShape | None = None) -> Path:
    """Write a run as a telemetry file, and as a saved run ``run_{run_id}.json`` beside it.

    Args:
        logger: Logger that determines folder and name. It must not have recorded anything.
        run: Run to write, finished or not.
        shape: Shape of the model. The summary then has the FLOP/s that the model reached, and their share of the
            ceiling if ``doctor --calibrate`` measured it on this device.

    Returns:
        Path of the telemetry file.

    Raises:
        OutputError: One of the files cannot be written.
    """
    stored = stored_ceiling(run)
    ceiling = DeviceCeiling() if stored is None else DeviceCeiling(stored.flops_per_second, stored.sm_clock_mhz)
    # The metadata make the saved run complete: it can be diagnosed without the model and its device.
    run = replace(run, metadata={**run.metadata, **arithmetic_metadata(shape, ceiling)})
    logger.set_run_metadata(**telemetry_metadata(run))
    for index, metrics in metrics_of_run(run):
        logger.record_batch(index, metrics)
    run.save(run_path(logger.path))
    return logger.finalize(run_summary(run, shape=shape, ceiling=ceiling))


def stored_ceiling(run: RunResult) -> Ceiling | None:
    """Return what the run's device was calibrated at with its driver and PyTorch; None if it was not."""
    hardware = run.metadata.get("hardware")
    known: Mapping[str, Any] = hardware if isinstance(hardware, Mapping) else {}
    return load_ceiling(
        uuid=run.device.uuid,
        precision=run.metadata.get("precision"),
        driver_version=known.get("driver_version"),
        torch_version=known.get("torch_version"),
    )


def run_path(telemetry_path: Path) -> Path:
    """Return the path of the whole run, beside its telemetry file."""
    return telemetry_path.with_name(telemetry_path.name.replace("telemetry_", "run_", 1))
