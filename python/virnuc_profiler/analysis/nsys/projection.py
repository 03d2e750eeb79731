# SPDX-License-Identifier: MIT
"""NVTX ranges projected on the GPU: from a range on a host thread to the operations that were launched inside it.

The way goes through the API calls: a call on the range's thread, from start to end inside the range, has launched the
operations of its process that carry its correlation id. Ranges nest, so an operation belongs to every range that
encloses its launch.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final, NamedTuple

import numpy as np

from virnuc_profiler.analysis.nsys.gpu_records import ApiCall, GpuOperation, NvtxRange, process_of
from virnuc_profiler.analysis.timing.intervals import union
from virnuc_profiler.telemetry.stage_columns import Column


@dataclass(frozen=True, slots=True)
class Projection:
    """What one range was on the GPU, over all of its streams and devices. Times in ns, on the capture's axis.

    Attributes:
        range: the range.
        operations: what was launched inside it, in the order of the launches.
        total_ns: sum of the operations' times; those that ran at once count each.
        kernel_ns: the part of it in kernels and graphs.
        busy_ns: time in which at least one of them ran.
        start_ns: start of the first operation; None without operations.
        end_ns: end of the last one.
        launch_delay_ns: from the start of the call that launched the first operation to the start of that.
        gaps: how often the GPU had none of these operations between the first and the last.
        longest_gap_ns: the longest such time; 0 without gaps.
        devices: numbers of the devices.
    """

    range: NvtxRange
    operations: tuple[GpuOperation, ...] = ()
    total_ns: int = 0
    kernel_ns: int = 0
    busy_ns: int = 0
    start_ns: int | None = None
    end_ns: int | None = None
    launch_delay_ns: int | None = None
    gaps: int = 0
    longest_gap_ns: int = 0
    devices: tuple[int, ...] = ()

    @property
    def span_ns(self) -> int | None:
        """From the start of the first operation to the end of the last; None without operations."""
        if self.start_ns is None or self.end_ns is None:
            return None
        return self.end_ns - self.start_ns

    @property
    def idle_ns(self) -> int | None:
        """Time within the span in which none of the operations ran; None without operations."""
        return None if (span := self.span_ns) is None else span - self.busy_ns


def project(
    ranges: Iterable[NvtxRange], calls: Iterable[ApiCall], operations: Iterable[GpuOperation]
) -> list[Projection]:
    """Projects each range, in the order given.

    O((n + m) log n) for n calls and m ranges, and as much again as ranges hold operations.
    """
    launched = _launched_by_thread(list(calls), list(operations))
    projections = []
    for range_ in ranges:
        there = launched.get(range_.thread, _NOTHING)
        first = bisect_left(there.call_starts, range_.start_ns)
        last = bisect_right(there.call_starts, range_.end_ns)
        inside = [at for at in range(first, last) if there.call_ends[at] <= range_.end_ns]
        projections.append(_projection(range_, there, inside))
    return projections


class _Launched(NamedTuple):
    """What one thread launched, in order: each operation with start and end of its call, ns."""

    call_starts: Sequence[int]
    call_ends: Sequence[int]
    operations: Sequence[GpuOperation]


_NOTHING: Final = _Launched((), (), ())


def _launched_by_thread(calls: Sequence[ApiCall], operations: Sequence[GpuOperation]) -> dict[int, _Launched]:
    """Joins calls and operations, as columns: records and lists of a launch each would take five times as long."""
    if not calls or not operations:
        return {}
    thread, correlation, start_ns, end_ns = _merged(*_columns(calls, 4))
    key, work_key = _keys((process_of(thread), correlation), _columns(operations, 2))
    # A graph that was traced as a whole and node by node counts by its nodes.
    whole = np.array([operation.kind == "graph" for operation in operations])
    counted = np.flatnonzero(~whole | ~np.isin(work_key, work_key[~whole]))
    counted = counted[np.argsort(work_key[counted], kind="stable")]
    low, high = (np.searchsorted(work_key[counted], key, side=side) for side in ("left", "right"))
    call = np.repeat(np.arange(len(key)), high - low)
    work = counted[np.arange(len(call)) - np.repeat(np.cumsum(high - low) - high, high - low)]
    by_time = np.lexsort((start_ns[call], thread[call]))
    call, work = call[by_time], work[by_time]
    bounds = [0, *(np.flatnonzero(np.diff(thread[call])) + 1).tolist(), len(call)]
    return {
        int(thread[call[first]]): _Launched(
            start_ns[call[first:last]].tolist(),
            end_ns[call[first:last]].tolist(),
            [operations[at] for at in work[first:last].tolist()],
        )
        for first, last in pairwise(bounds)
        if first < last
    }


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[Column]:
    """The first columns of rows, which are of integers."""
    return [np.fromiter(map(itemgetter(at), rows), np.int64, len(rows)) for at in range(count)]


def _merged(thread: Column, correlation: Column, start_ns: Column, end_ns: Column) -> tuple[Column, ...]:
    """One row for each call, which may have several: of the runtime and of the driver below it, or of two layers."""
    order = np.lexsort((correlation, thread))
    thread, correlation, start_ns, end_ns = (column[order] for column in (thread, correlation, start_ns, end_ns))
    changes = (thread[1:] != thread[:-1]) | (correlation[1:] != correlation[:-1])
    first = np.append(0, np.flatnonzero(changes) + 1)
    starts, ends = np.minimum.reduceat(start_ns, first), np.maximum.reduceat(end_ns, first)
    return thread[first], correlation[first], starts, ends


def _keys(*pairs: Sequence[Column]) -> list[Column]:
    """One number for each pair of a process and a correlation id, the same for the same in all of `pairs`."""
    processes, correlations = (np.concatenate(columns) for columns in zip(*pairs, strict=True))
    _, process = np.unique(processes, return_inverse=True)
    different, correlation = np.unique(correlations, return_inverse=True)
    keys = process.reshape(-1) * len(different) + correlation.reshape(-1)
    return np.split(keys, np.cumsum([len(first) for first, _ in pairs])[:-1])


def _projection(range_: NvtxRange, launched: _Launched, inside: Sequence[int]) -> Projection:
    if not inside:
        return Projection(range_)
    operations = tuple(launched.operations[at] for at in inside)
    busy = union((operation.start_ns, operation.end_ns) for operation in operations)
    gaps = [later[0] - earlier[1] for earlier, later in pairwise(busy)]
    start_ns, launched_ns = min((launched.operations[at].start_ns, launched.call_starts[at]) for at in inside)
    return Projection(
        range_,
        operations,
        total_ns=sum(operation.duration_ns for operation in operations),
        kernel_ns=sum(operation.duration_ns for operation in operations if operation.kind in ("kernel", "graph")),
        busy_ns=sum(end - start for start, end in busy),
        start_ns=start_ns,
        end_ns=max(operation.end_ns for operation in operations),
        launch_delay_ns=start_ns - launched_ns,
        gaps=len(gaps),
        longest_gap_ns=max(gaps, default=0),
        devices=tuple(sorted({operation.device for operation in operations})),
    )
