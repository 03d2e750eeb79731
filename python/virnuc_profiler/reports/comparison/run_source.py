# SPDX-License-Identifier: MIT
"""One run of a comparison, from a telemetry file, a saved run, or a run in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.analysis.comparison.measured_run import MeasuredRun, is_measured, is_scalar
from virnuc_profiler.analysis.comparison.metrics import METRICS_BY_NAME
from virnuc_profiler.analysis.host.interruptions import summary_interrupted
from virnuc_profiler.analysis.model_cost import forward_flops, recorded_shape
from virnuc_profiler.analysis.summary.performance_figures import complete_summary
from virnuc_profiler.analysis.summary.run_telemetry import telemetry_document
from virnuc_profiler.reports.comparison.run_facts import clock_facts, facts_of, section
from virnuc_profiler.telemetry.long_lists.run_document import read_document
from virnuc_profiler.telemetry.rates import sequences_per_pass
from virnuc_profiler.telemetry.reader import current_telemetry
from virnuc_profiler.telemetry.run_result import RunResult, is_saved_run
from virnuc_profiler.telemetry.values import printable

if TYPE_CHECKING:
    from virnuc_profiler.analysis.confidence.rate_interval import RateInterval

_SUMMARY_KEYS: Final[Mapping[str, str]] = {
    "steady_tokens_per_sec": "steady_tokens_per_sec",
    "tokens_per_sec": "avg_tokens_per_sec",
    "start_up_seconds": "start_up_seconds",
    "packing_efficiency": "avg_packing_efficiency",
    "joules_per_sequence": "joules_per_sequence",
    "device_share": "device_stages_fraction",
}
"""Keys of the telemetry summary by the name of the metric; the metadata have the peak memory."""

_LARGEST: Final = 1e15
"""Larger counts and times of batches are no measurements, and their sums overflow."""


def read_run(path: Path) -> MeasuredRun:
    """Read a telemetry file or a saved run, of any version that can be read.

    Args:
        path: The file.

    Raises:
        TelemetryFormatError: The file cannot be read, or is neither.
    """
    document = read_document(path)
    if is_saved_run(document):
        return run_of(RunResult.from_document(document, os.fspath(path)), str(path))
    return _measured(current_telemetry(document, os.fspath(path)), None, str(path))


def run_of(run: RunResult, source: str) -> MeasuredRun:
    """Return what a comparison uses of a run in memory.

    Args:
        run: The run.
        source: Name of its file, or any other name for messages.
    """
    return _measured(telemetry_document(run), run, source)


def measured_values(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures that were measured, by the name of their metric; effects are ratios, so they are positive.

    Args:
        figures: Values of unknown origin by the name of the metric.
    """
    return {name: float(value) for name, value in figures.items() if name in METRICS_BY_NAME and is_measured(value)}


def _measured(document: Mapping[str, Any], run: RunResult | None, source: str) -> MeasuredRun:
    metadata, summary = document["run_metadata"], complete_summary(document)
    figures = {name: summary.get(key) for name, key in _SUMMARY_KEYS.items()}
    found = MeasuredRun(
        source=printable(source),
        configuration={name: value for name, value in section(metadata, "config").items() if is_scalar(value)},
        facts={
            **facts_of(
                device=metadata.get("device"),
                machine=section(metadata, "hardware"),
                versions=section(metadata, "versions"),
                model=metadata,
                workload=section(metadata, "workload"),
                settings={},
            ),
            **clock_facts(run, summary),
        },
        values=measured_values({**figures, "peak_memory_gb": metadata.get("peak_memory_gb")}),
        steady=steady_interval(document),
        failure=_failure(metadata),
    )
    if summary_interrupted(summary):
        return replace(found, warnings=(f"{found.source} was stopped meanwhile, so its rates say little.",))
    return found


def steady_interval(document: Mapping[str, Any]) -> RateInterval | None:
    """Return the steady rate of a run in tokens/s with its interval; None if its batches have no times or counts.

    It is computed from the batches of each file, old or new, so that both sides of a comparison have one definition.
    Batches are compared by their FLOPs where the model's shape is known, since packs of equal tokens differ in them.

    Args:
        document: Telemetry document.
    """
    import numpy as np

    from virnuc_profiler.analysis.timing.steady_state import completed_rate, pass_ends, scaled

    metadata = document["run_metadata"]
    records = sorted(document["per_batch_metrics"], key=lambda one: one.get("timestamp") or "")
    tokens, lasted_ms = _column(records, "num_tokens"), _column(records, "interval_ms")
    if tokens is None or lasted_ms is None or not sum(tokens):
        return None
    shape, squares = recorded_shape(metadata), _column(records, "sum_squared_lengths")
    work = tokens
    if shape is not None and squares is not None:
        work = [float(forward_flops(int(count), int(sum_), shape)) for count, sum_ in zip(tokens, squares, strict=True)]
    sequences = _column(records, "num_sequences")
    per_pass = sequences_per_pass(metadata)
    ends = pass_ends(np.array(sequences or tokens), per_pass if sequences else None)
    completed_ns = np.round(np.cumsum(lasted_ms) * 1e6).astype(np.int64)
    return scaled(completed_rate(completed_ns, np.array(work, np.float64), ends), sum(tokens), sum(work))


def _column(records: Sequence[Mapping[str, Any]], name: str) -> list[float] | None:
    """Return a value of every batch; None if a batch lacks it or there are no batches."""
    values = [record.get(name) for record in records]
    known = [value for value in values if isinstance(value, int | float) and 0 <= value < _LARGEST]
    return known if values and len(known) == len(values) else None


def _failure(metadata: Mapping[str, Any]) -> str | None:
    if metadata.get("status") in (None, "success"):
        return None
    return printable(str(section(metadata, "failure").get("reason") or metadata["status"]))
