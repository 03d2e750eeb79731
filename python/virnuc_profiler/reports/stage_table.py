# SPDX-License-Identifier: MIT
"""The time of a run by stage, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from virnuc_profiler.analysis.summary.run_summary import profiling_cost_keys
from virnuc_profiler.analysis.timing.interval_columns import length, length_by_group
from virnuc_profiler.analysis.timing.statistics import percentile
from virnuc_profiler.reports.columns import aligned, fitted
from virnuc_profiler.reports.figures import NOT_MEASURED, counted, number, share, words
from virnuc_profiler.reports.performance.performance_rows import render_cost
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.stage_columns import Column, StageColumns

_HEADINGS: Final = ("Stage", "Batches", "Host p50", "Host p95", "Device p50", "Device p95", "Share of run")


_SHORT_HEADINGS: Final = ("Stage", "Batches", "Host p50", "p95", "Device p50", "p95", "Share")
"""Headings of a narrow table."""


def render_stages(run: RunResult, width: int | None = None) -> str:
    """Render a table with one line per stage: median and 95th percentile of its time in ms, and its share of the run.

    Percentiles are over batches. If a stage occurs more than once in a batch, its times are added up, and overlaps
    count once. The share is the part of the run in which at least one batch was in that stage, on the device if all of
    the stage was timed there, otherwise on the host. Stages overlap (workers collate while the device computes), so
    shares need not add up to 100 %.

    Args:
        run: Run to render.
        width: Maximum number of characters of a line of the table; None for no limit.
    """
    stages = run.batches.stages
    found = {name: stages[stages.named({name})] for name in run.stage_names}
    rows = [_HEADINGS, *(_row(name, same, run.elapsed_s) for name, same in found.items() if len(same))]
    lines = aligned(rows)
    if width is not None and max(map(len, lines)) > width:
        lines = fitted([_SHORT_HEADINGS, *rows[1:]], width)
    rule = "=" * max(map(len, lines))
    notes = [_precision(stages) if run.device.timed else f"Device times: {NOT_MEASURED} ({words(run.device.reason)})"]
    if run.cost is not None:
        notes.append(f"Profiling took {render_cost(profiling_cost_keys(run))}")
    return "\n".join(["Stages (ms)", rule, *lines, rule, *notes])


def _precision(stages: StageColumns) -> str:
    """Return what device times include, and which stages the device timed itself."""
    exact = stages[stages.timestamped == 1]
    names = ", ".join(words(stages.names[number]) for number in np.unique(exact.name))
    if not names:
        return (
            "Device times include waits for launches inside a stage: the device was busy for at most these, and for at "
            "most their share of the run."
        )
    count, batches = len(np.unique(exact.batch)), len(np.unique(stages.batch))
    return (
        "Device times include waits for launches inside a stage, except where the device timed it: "
        f"{names} in {count:,} of {counted(batches, 'batch', 'batches')}."
    )


def _row(name: str, stages: StageColumns, elapsed_s: float) -> tuple[str, ...]:
    host = _by_batch(stages.batch, stages.host_start_ns, stages.host_end_ns)
    timed = stages[~np.isin(stages.batch, stages.batch[~stages.on_device])]  # part of a stage is not the whole
    device = _by_batch(timed.batch, timed.device_start_ns, timed.device_end_ns)
    if len(device) == len(host):
        covered_ns = length(timed.device_start_ns, timed.device_end_ns)
    else:
        covered_ns = length(stages.host_start_ns, stages.host_end_ns)
    covered_share = covered_ns / 1e9 / elapsed_s if elapsed_s else None
    return (
        words(name),
        f"{len(host):,}",
        *(_milliseconds(host, q) for q in (50, 95)),
        *(_milliseconds(device, q) for q in (50, 95)),
        share(covered_share),
    )


def _by_batch(batch: Column, starts: Column, ends: Column) -> list[int]:
    batches, group = np.unique(batch, return_inverse=True)
    durations: list[int] = length_by_group(starts, ends, group.reshape(-1), len(batches)).tolist()
    return durations


def _milliseconds(values: Sequence[int], q: float) -> str:
    value = percentile(values, q)
    return number(None if value is None else value / 1e6, 3)
