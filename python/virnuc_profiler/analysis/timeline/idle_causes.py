# SPDX-License-Identifier: MIT
"""Idle time of the device with its causes, as columns; also of runs that are too long for a record of each gap."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from virnuc_profiler.analysis.diagnosis.bottlenecks import LEAD_IN, NOT_MEASURED, TAIL
from virnuc_profiler.analysis.diagnosis.gaps import GAP_CAUSES, GapColumns, gap_columns
from virnuc_profiler.analysis.diagnosis.host_activity import host_timeline, lost_times
from virnuc_profiler.analysis.diagnosis.observation import MAX_CLOCK_SLACK_NS, stated_clock_error_ns
from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.stage_columns import Column

IDLE_CAUSES: Final = (*GAP_CAUSES, LEAD_IN, TAIL)
"""All causes of idle time, the time before the first and after the last stage included."""

PART_BATCHES: Final = 100_000
"""Batches that are looked at together. A longer run is looked at in parts, so that its memory stays bounded; whether
the loop regularly waits for the device is then decided for each part."""

_OVERLAP: Final = 64
"""Batches beside each part that belong to it, so that gaps are seen whole; more than a loop has in flight."""


class IdleTime(NamedTuple):
    """Gaps of the device in order of time, and their causes. The first two columns have the shape (gaps,).

    Attributes:
        start_ns: Starts on the host's clock.
        end_ns: Ends on the host's clock.
        gap: Position of the gap that each part belongs to, of shape (parts,); never decreases.
        cause: Number of the cause of each part in ``IDLE_CAUSES``.
        cause_ns: Duration of each part; the parts of a gap add up to it.
    """

    start_ns: Column
    end_ns: Column
    gap: Column
    cause: Column
    cause_ns: Column


def idle_time(run: RunResult, *, part_batches: int = PART_BATCHES) -> IdleTime:
    """Return the idle time of the device with its causes; nothing without device times.

    Args:
        run: Run to look at.
        part_batches: Number of batches that are looked at together.
    """
    span = (run.host_start_ns, run.host_end_ns)
    slack_ns = min(stated_clock_error_ns(run.device), MAX_CLOCK_SLACK_NS)
    starts, ends, causes = [], [], []
    staged: list[int] = []
    for batches, window, whole in _parts(run.batches, span, part_batches):
        columns = gap_columns(batches, whole, host_timeline(batches, whole), slack_ns)
        if not len(columns.staged_starts):
            continue
        chosen = _inside(columns, window)
        starts.append(columns.staged_ends[:-1][chosen])
        ends.append(columns.staged_starts[1:][chosen])
        causes.append(columns.causes[chosen])
        staged += (int(columns.staged_starts[0]), int(columns.staged_ends[-1]))
    if not starts:
        nothing = np.zeros(0, np.int64)
        return IdleTime(nothing, nothing, nothing, nothing, nothing)
    edges = (min(staged), max(staged))
    known = _known_ends(run.batches, span, edges)
    return _with_ends(np.concatenate(starts), np.concatenate(ends), np.concatenate(causes), span, edges, known)


def _parts(batches: BatchTable, span: Interval, part_batches: int) -> Iterator[tuple[BatchTable, Interval, Interval]]:
    """Yield the batches of each part with those beside it, the time that its gaps start in, and that of them all."""
    count = len(batches)
    if count <= part_batches:
        yield batches, span, span
        return
    begun = batches.columns["host_start_ns"]
    completed = np.maximum.accumulate(completions_of(batches).at_ns)
    borders = [int(completed[place - 1]) for place in range(part_batches, count, part_batches)]
    borders = [span[0], *borders, span[1]]
    for number, window in enumerate(pairwise(borders)):
        first, last = max(number * part_batches - _OVERLAP, 0), min((number + 1) * part_batches + _OVERLAP, count)
        whole = (
            span[0] if first == 0 else int(begun[first:].min()),
            span[1] if last == count else int(completed[last - 1]),
        )
        yield batches[first:last], window, whole


def _inside(columns: GapColumns, window: Interval) -> Column:
    starts = columns.staged_ends[:-1]
    return np.flatnonzero((starts >= window[0]) & (starts < window[1]))


def _known_ends(batches: BatchTable, span: Interval, staged: Interval) -> Interval:
    """Return until when and from when nothing ran, as far as known: device times of batches at the ends may be lost."""
    starts, ends = lost_times(batches)
    return (
        int(np.clip(starts.min(initial=staged[0]), span[0], staged[0])),
        int(np.clip(ends.max(initial=staged[1]), staged[1], span[1])),
    )


def _with_ends(
    starts: Column, ends: Column, causes: Column, span: Interval, staged: Interval, known: Interval
) -> IdleTime:
    """Add the time before the first stage and after the last one."""
    gap, cause = np.nonzero(causes)
    cause_ns = causes[gap, cause]
    numbers = [IDLE_CAUSES.index(name) for name in (LEAD_IN, NOT_MEASURED, TAIL)]
    if span[0] < staged[0]:
        starts, ends = np.append(span[0], starts), np.append(staged[0], ends)
        gap = np.append([0, 0], gap + 1)
        cause = np.append(numbers[:2], cause)
        cause_ns = np.append([known[0] - span[0], staged[0] - known[0]], cause_ns)
    if staged[1] < span[1]:
        gap, cause = np.append(gap, [len(starts)] * 2), np.append(cause, numbers[1:])
        cause_ns = np.append(cause_ns, [known[1] - staged[1], span[1] - known[1]])
        starts, ends = np.append(starts, staged[1]), np.append(ends, span[1])
    there = cause_ns > 0
    return IdleTime(starts, ends, gap[there], cause[there], cause_ns[there])
