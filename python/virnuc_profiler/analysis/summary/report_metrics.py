# SPDX-License-Identifier: MIT
"""The metrics of batches that a report needs, as columns: those of ``batch_metrics``, without a record per batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.gpu.activity import utilization_during
from virnuc_profiler.analysis.gpu.coverage import MAX_BLURRED, NVML_WINDOW_NS
from virnuc_profiler.analysis.summary.batch_metrics import (
    FULL_BELOW,
    STARVED_FROM,
    completion_intervals,
    host_intervals_ns,
    waits_ns,
)
from virnuc_profiler.telemetry.batch_table import HAS_PACKING
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.stage_columns import Mask
from virnuc_profiler.telemetry.summary import MetricColumns


def report_metrics(run: RunResult) -> MetricColumns:
    """Return the metrics of a run's batches from which a report is made.

    Args:
        run: Run to describe.
    """
    columns, packed = run.batches.columns, run.batches.flagged(HAS_PACKING)
    tokens, budget = columns["tokens"], columns["token_budget"]
    waits = waits_ns(run.batches)
    return MetricColumns(
        len(run.batches),
        {
            "num_sequences": _values(columns["sequences"], packed),
            "num_tokens": _values(tokens, packed),
            "packing_efficiency": _values(tokens / np.maximum(budget, 1), packed & (budget > 0) & (tokens <= budget)),
            "wait_time_ms": [None if wait_ns is None else wait_ns / 1e6 for wait_ns in waits],
            "queue_state": _queue_states(waits, host_intervals_ns(run.batches)),
            "gpu_util": _utilization(run),
        },
    )


def _values(column: NDArray[Any], known: Mask) -> list[Any]:
    values: list[Any] = column.tolist()
    if not known.all():
        for place in np.flatnonzero(~known).tolist():
            values[place] = None
    return values


def _queue_states(waits: list[int | None], intervals: list[int]) -> list[str | None]:
    """Return ``batch_metrics.queue_state`` of each batch."""
    wait = np.array([-1 if wait_ns is None else wait_ns for wait_ns in waits], np.int64)
    interval = np.array(intervals, np.int64)
    starved = (wait >= STARVED_FROM * interval) & (wait > 0)
    full = (wait < FULL_BELOW * interval) | (wait == 0)
    numbers = np.where(wait < 0, 3, np.where(starved, 0, np.where(full, 1, 2)))
    names = ("starved", "full", "normal", None)
    return [names[number] for number in numbers.tolist()]


def _utilization(run: RunResult) -> list[float | None]:
    """Return the utilization during each batch; NVML's averages say nothing about much shorter times than theirs."""
    found: list[float | None] = [None] * len(run.batches)
    if run.gpu is not None:
        for place, interval in enumerate(completion_intervals(run.batches)):
            if (interval[1] - interval[0]) * MAX_BLURRED >= NVML_WINDOW_NS / 2:
                found[place] = utilization_during(interval, run.gpu).value
    return found
