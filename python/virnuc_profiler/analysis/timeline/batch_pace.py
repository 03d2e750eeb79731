# SPDX-License-Identifier: MIT
"""The pace of a run: how long each batch took from the completion of the one before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.stage_columns import Column


class BatchPace(NamedTuple):
    """The times of all batches on the host's clock, ns. Columns have the shape (batches,), in the order of the table.

    Attributes:
        start_ns: When the loop began to wait for the batch's data.
        end_ns: When its results had been delivered.
        completed_ns: When the device had completed it; an upper bound if it was not timed there.
        since_ns: When the batch before it, by completion, was complete; the start of the batch for the first one.
        order: Positions of the batches in the order of their completion.
    """

    start_ns: Column
    end_ns: Column
    completed_ns: Column
    since_ns: Column
    order: Column

    @property
    def interval_ns(self) -> Column:
        """Time from the completion of the batch before to that of each batch. Intervals do not overlap."""
        return self.completed_ns - self.since_ns


def batch_pace(batches: BatchTable) -> BatchPace:
    """Return the times of all batches.

    Args:
        batches: Batches of the run.
    """
    start_ns, end_ns = batches.columns["host_start_ns"], batches.columns["host_end_ns"]
    completed_ns = completions_of(batches).at_ns
    order = np.lexsort((start_ns, completed_ns))
    since_ns = start_ns.copy()
    since_ns[order[1:]] = completed_ns[order[:-1]]
    return BatchPace(start_ns, end_ns, completed_ns, since_ns, order)
