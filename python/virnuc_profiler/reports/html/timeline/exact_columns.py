# SPDX-License-Identifier: MIT
"""The times of batches and their stages as small numbers: each is written as its distance from one already known.

A stage often begins right after the one before it, or on the device right when the one before it ends. Which known time
is nearest depends on the loop, so it is chosen for each stage. The page's script adds the distances up again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from virnuc_profiler.analysis.timeline.run_timeline import RunTimeline
from virnuc_profiler.analysis.timing.interval_columns import clip, union
from virnuc_profiler.reports.html.timeline.packed_columns import NamedColumn
from virnuc_profiler.telemetry.batch_table import HAS_PACKING
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED, Column, Mask, StageColumns

HOST_REFERENCES: Final = ("batch", "previous start", "previous end", "end before that")
"""What the host's start of a stage is measured from: the start of its batch, or times of the stages before in it."""

DEVICE_REFERENCES: Final = ("host", "reached")
"""What the device's start is measured from: the stage's own host start, or the latest end on the device so far."""

_FAR: Final = -(1 << 52)
"""Stands for an end before the first one."""


def exact_columns(timeline: RunTimeline) -> tuple[list[NamedColumn], dict[str, list[int]]]:
    """Return the columns of the batches that are kept exactly, and the references of each stage.

    Args:
        timeline: The run over time.

    Returns:
        Columns, and by ``host`` and ``device`` the number of the reference of each stage name.
    """
    chosen = np.flatnonzero(timeline.exact.batches)
    table = timeline.batches if timeline.exact.whole else timeline.batches.take(chosen)
    stages, origin = table.stages, timeline.span[0]
    begin = table.columns["host_start_ns"] - origin
    end = table.columns["host_end_ns"] - origin
    completed, since = timeline.pace.completed_ns[chosen] - origin, timeline.pace.since_ns[chosen] - origin
    host, device, references = _references(stages, begin, origin)
    columns = [
        NamedColumn("batch.index", table.columns["index"], differences=True),
        NamedColumn("batch.start", begin, differences=True),
        NamedColumn("batch.end", end - _latest_host_end(stages, begin, origin)),
        NamedColumn("batch.done", completed - _latest(stages, begin, end, origin)),
        NamedColumn("batch.since", since - _before(completed, begin)),
        NamedColumn("batch.stages", np.bincount(stages.batch, minlength=len(table)).astype(np.int64)),
        *_packing(table.columns),
        NamedColumn("row.stage", stages.name),
        NamedColumn("row.timed", np.where(stages.on_device, 1 + (stages.timestamped == 1), 0)),
    ]
    for number in range(len(stages.names)):
        rows = np.flatnonzero(stages.name == number)
        timed = rows[stages.on_device[rows]]
        columns += [
            NamedColumn(f"host.{number}.start", host[rows]),
            NamedColumn(f"host.{number}.length", (stages.host_end_ns - stages.host_start_ns)[rows]),
            NamedColumn(f"device.{number}.start", device[timed]),
            NamedColumn(f"device.{number}.length", (stages.device_end_ns - stages.device_start_ns)[timed]),
        ]
    return [*columns, *_gaps(timeline, stages)], references


def _gaps(timeline: RunTimeline, stages: StageColumns) -> Iterator[NamedColumn]:
    """Yield the gaps that are kept. Most lie between two neighbors of the device's intervals, which are known."""
    idle, kept, origin = timeline.idle, np.flatnonzero(timeline.exact.gaps), timeline.span[0]
    starts, ends = idle.start_ns[kept] - origin, idle.end_ns[kept] - origin
    timed = stages[stages.on_device]
    staged = clip(timed.device_start_ns - origin, timed.device_end_ns - origin, (0, timeline.elapsed_ns))
    staged_starts, staged_ends = union(*staged)
    known_starts, known_ends = np.append(np.int64(0), staged_ends), np.append(staged_starts, timeline.elapsed_ns)
    after = np.searchsorted(staged_ends, starts, side="right")  # 0 is the time before the first interval
    place = np.cumsum(timeline.exact.gaps) - 1
    parts = np.flatnonzero(timeline.exact.gaps[idle.gap])
    yield NamedColumn("gap.after", after, differences=True)
    yield NamedColumn("gap.start", starts - known_starts[after])
    yield NamedColumn("gap.end", ends - known_ends[after])
    yield NamedColumn("gap.part", place[idle.gap[parts]], differences=True)
    yield NamedColumn("gap.cause", idle.cause[parts])
    yield NamedColumn("gap.less", (idle.end_ns - idle.start_ns)[idle.gap[parts]] - idle.cause_ns[parts])


def _packing(columns: Mapping[str, Column]) -> Iterator[NamedColumn]:
    flags = columns["flags"]
    known = (flags & HAS_PACKING) != 0
    for field in ("tokens", "sequences", "max_length", "token_budget"):
        values = columns[field]
        yield NamedColumn(f"batch.{field}", np.where(known & (values != NOT_MEASURED), values, -1))
    yield NamedColumn("batch.flags", flags)


def _latest_host_end(stages: StageColumns, begin: Column, origin: int) -> Column:
    """Return the latest end of each batch's stages on the host, or its start without one."""
    latest: Column = begin.copy()
    np.maximum.at(latest, stages.batch, stages.host_end_ns - origin)
    return latest


def _latest(stages: StageColumns, begin: Column, end: Column, origin: int) -> Column:
    """Return the latest end of each batch on the device, or its end on the host without one."""
    latest = np.full(len(begin), _FAR)
    timed = stages[stages.on_device]
    np.maximum.at(latest, timed.batch, timed.device_end_ns - origin)
    found: Column = np.where(latest == _FAR, end, latest)
    return found


def _before(completed: Column, begin: Column) -> Column:
    """Return the completion before each one, by time; the start of the batch for the first."""
    order = np.lexsort((begin, completed))
    before: Column = begin.copy()
    before[order[1:]] = completed[order[:-1]]
    return before


def _references(stages: StageColumns, begin: Column, origin: int) -> tuple[Column, Column, dict[str, list[int]]]:
    """Return the distance of each stage's start from its reference on host and device, and the references."""
    start, end = stages.host_start_ns - origin, stages.host_end_ns - origin
    own = begin[stages.batch] if len(stages) else start
    known = (own, _shifted(start, own, stages, 1), _shifted(end, own, stages, 1), _shifted(end, own, stages, 2))
    reached = np.maximum.accumulate(np.where(stages.on_device, stages.device_end_ns - origin, _FAR))
    reached = np.append(np.int64(0), reached[:-1]) if len(stages) else reached
    reached = np.where(reached == _FAR, 0, reached)
    device_start = stages.device_start_ns - origin
    host, host_choice = _nearest(start, known, stages, np.ones(len(stages), np.bool_))
    device, device_choice = _nearest(device_start, (start, reached), stages, stages.on_device)
    return host, device, {"host": host_choice, "device": device_choice}


def _shifted(times: Column, own: Column, stages: StageColumns, by: int) -> Column:
    """Return the times of the stage `by` places before in the same batch; the batch's start where there is none."""
    before: Column = own.copy()
    same = stages.batch[by:] == stages.batch[:-by]
    before[by:][same] = times[:-by][same]
    return before


def _nearest(
    times: Column, references: Sequence[Column], stages: StageColumns, counted: Mask
) -> tuple[Column, list[int]]:
    distances, chosen = np.zeros(len(times), np.int64), []
    for number in range(len(stages.names)):
        rows = np.flatnonzero((stages.name == number) & counted)
        away = [times[rows] - reference[rows] for reference in references]
        costs = [float(np.log2(1.0 + np.abs(each)).sum()) for each in away]
        chosen.append(int(np.argmin(costs)))
        distances[rows] = away[chosen[-1]]
    return distances, chosen
