# SPDX-License-Identifier: MIT
"""A part of a long run, as a run of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from virnuc_profiler.telemetry.batch_table import DEVICE_TIMES_DROPPED
from virnuc_profiler.telemetry.run_result import RunResult


def part_of_run(run: RunResult, chosen: slice) -> RunResult:
    """Return some batches of a run, with the time from their first start to their last end on host and device.

    It has no start-up, which is that of the whole run, and counts the lost device times of these batches alone.

    Args:
        run: The run.
        chosen: Positions of the batches.
    """
    batches = run.batches[chosen]
    if not len(batches):
        return replace(run, batches=batches)
    columns, stages = batches.columns, batches.device_stages
    dropped = int(np.count_nonzero(batches.flagged(DEVICE_TIMES_DROPPED)))
    start_ns = int(columns["host_start_ns"].min())
    end_ns = int(max(columns["host_end_ns"].max(), stages.device_end_ns.max(initial=start_ns)))
    return replace(
        run,
        batches=batches,
        device=replace(run.device, dropped_batches=dropped),
        start_up=None,
        started_at=_later(run.started_at, start_ns - run.host_start_ns),
        host_start_ns=start_ns,
        host_end_ns=end_ns,
    )


def _later(started_at: str, later_ns: int) -> str:
    """Return a time of day moved by some ns; what is no time of day stays as it is."""
    try:
        return (
            datetime.fromisoformat(started_at.replace("Z", "+00:00")) + timedelta(microseconds=later_ns // 1000)
        ).isoformat()
    except (ValueError, OverflowError):
        return started_at
