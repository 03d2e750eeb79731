# SPDX-License-Identifier: MIT
"""The stage that launched each device operation."""

from __future__ import annotations

from typing import Final

import numpy as np

from virnuc_profiler.analysis.kernels.device_trace import NO_CORRELATION, DeviceTrace, TraceRows
from virnuc_profiler.analysis.kernels.trace_clock import TraceClock
from virnuc_profiler.telemetry.stage_columns import Column, Mask, StageColumns

NO_STAGE: Final = -1
"""Position of the stage of an operation that no stage launched."""


def launching_stages(trace: DeviceTrace, clock: TraceClock, stages: StageColumns, slack_ns: int = 0) -> Column:
    """Return the position of each operation's stage in `stages`, or ``NO_STAGE``; shape (operations,).

    It is the stage in whose host interval the launching call began. If several were open, stages of the device come
    before those of the host, and then the one that began last. An operation whose call is not in the trace, such as a
    copy that was queued through the driver, belongs to the shortest device interval that contains its middle.

    Args:
        trace: The trace.
        clock: Relation of its clock to that of the stages.
        stages: Stages of the recorded batches.
        slack_ns: Time by which device intervals may be early or late, so that a copy of a few microseconds is not
            outside of its own interval.
    """
    operations = trace.operations
    called, call = _calls_of(operations, trace.calls)
    found = np.full(len(operations), NO_STAGE)
    if not len(stages):
        return found
    order = np.lexsort((stages.host_start_ns, stages.on_device))
    launched_ns = clock.monotonic(trace.calls.start_ns)[call[called]]
    found[called] = _covering(launched_ns, stages.host_start_ns, stages.host_end_ns, order)
    on_device = np.flatnonzero(stages.on_device)
    starts, ends = stages.device_start_ns[on_device] - slack_ns, stages.device_end_ns[on_device] + slack_ns
    middles_ns = clock.monotonic((operations.start_ns + operations.end_ns) // 2)[~called]
    chosen = _covering(middles_ns, starts, ends, np.argsort(starts - ends, kind="stable"))
    found[~called] = np.where(chosen == NO_STAGE, NO_STAGE, on_device[chosen] if len(on_device) else NO_STAGE)
    return found


def _calls_of(operations: TraceRows, calls: TraceRows) -> tuple[Mask, Column]:
    """Return which operations have a call, and the position of the first call with their correlation id."""
    order = np.lexsort((calls.start_ns, calls.correlation))
    ids, first = np.unique(calls.correlation[order], return_index=True)
    if not len(ids):
        return np.zeros(len(operations), np.bool_), np.zeros(len(operations), np.int64)
    at = np.minimum(np.searchsorted(ids, operations.correlation), len(ids) - 1)
    called: Mask = (ids[at] == operations.correlation) & (operations.correlation != NO_CORRELATION)
    return called, order[first[at]]


def _covering(times: Column, starts: Column, ends: Column, order: Column) -> Column:
    """Return for each time the interval that contains it, or ``NO_STAGE``; of several the last one in `order`.

    Every interval is painted over the earlier ones on the axis of all starts and ends, which takes one slice each.

    Args:
        times: Times to look up.
        starts: Starts of the intervals.
        ends: Ends of the intervals, which are exclusive.
        order: Positions of the intervals, the most important one last.
    """
    bounds = np.unique(np.concatenate((starts, ends)))
    painted = np.full(len(bounds) + 1, NO_STAGE)
    first, last = np.searchsorted(bounds, starts) + 1, np.searchsorted(bounds, ends) + 1
    for interval in order.tolist():
        painted[first[interval] : last[interval]] = interval
    return painted[np.searchsorted(bounds, times, "right")]
