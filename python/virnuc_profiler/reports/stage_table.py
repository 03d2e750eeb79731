# SPDX-License-Identifier: MIT
"""Where a run's time went, stage by stage, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from virnuc_profiler.analysis.profiling_cost import profiling_cost_keys
from virnuc_profiler.analysis.statistics import percentile
from virnuc_profiler.reports.columns import aligned
from virnuc_profiler.reports.profiling_cost import render_cost
from virnuc_profiler.telemetry.run_result import RunResult

_HEADINGS: Final = ("Stage", "Batches", "Host p50", "Host p95", "Device p50", "Device p95", "Share of run")


def render_stages(run: RunResult) -> str:
    """One line for each stage that occurred: medians and 95th percentiles in ms, and its share of the run.

    A share is the stage's time on the device if all of it was measured there, and on the host otherwise. Stages
    overlap (a worker collates while the device computes), so shares need not add up to 100 %.
    """
    rows = [_HEADINGS, *(row for name in run.stage_names if (row := _row(run, name)) is not None)]
    lines = aligned(rows)
    rule = "=" * max(map(len, lines))
    notes = [] if run.device.timed else [f"Device times: n/a ({run.device.reason})"]
    if run.cost is not None:
        notes.append(f"Profiling took {render_cost(profiling_cost_keys(run))}")
    return "\n".join(["Stages (ms)", rule, *lines, rule, *notes])


def _row(run: RunResult, name: str) -> tuple[str, ...] | None:
    stages = [stage for batch in run.batches for stage in batch.stages if stage.name == name]
    if not stages:
        return None
    host = [stage.host_ns for stage in stages]
    device = [stage.device_ns for stage in stages if stage.device_ns is not None]
    share = sum(device if len(device) == len(host) else host) / 1e9 / run.elapsed_s if run.elapsed_s else None
    return (
        name,
        f"{len(stages):,}",
        *(_milliseconds(host, q) for q in (50, 95)),
        *(_milliseconds(device, q) for q in (50, 95)),
        "n/a" if share is None else f"{share:.1%}",
    )


def _milliseconds(values: Sequence[int], q: float) -> str:
    value = percentile(values, q)
    return "n/a" if value is None else f"{value / 1e6:.3f}"
