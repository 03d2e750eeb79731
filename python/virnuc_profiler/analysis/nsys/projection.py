# SPDX-License-Identifier: MIT
"""Projection of NVTX ranges onto the GPU: from a range on a host thread to the operations launched inside it.

API calls connect the two: a call on the range's thread that lies inside the range launched the operations of its
process with the same correlation id. Ranges nest, so an operation belongs to every range around its launch.
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
    """GPU work of one range, over all streams and devices. Times are on the tracer's clock.

    Attributes:
        range: The range.
        operations: Operations launched inside the range, in the order of their launches.
        total_ns: Sum of the operations' durations; concurrent operations count separately.
        kernel_ns: Part of `total_ns` in kernels and graphs.
        busy_ns: Time in which at least one operation ran.
        start_ns: Start of the first operation; None without operations.
        end_ns: End of the last operation; None without operations.
        launch_delay_ns: Time from the start of the call that launched the first operation to the operation's start;
            None without operations.
        gaps: Number of times between the first and the last operation in which none of the operations ran.
        longest_gap_ns: Longest of these times; 0 without gaps.
        devices: Numbers of the devices.
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
        """Time from the start of the first operation to the end of the last; None without operations."""
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
    """Project ranges onto the GPU, in O((n + m) log n) for n calls and m ranges plus the size of the result.

    Args:
        ranges: Ranges to project.
        calls: API calls of the capture.
        operations: GPU operations of the capture.

    Returns:
        The projections, in the order of the ranges.
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
    """Operations that one thread launched, in the order of their launches.

    Attributes:
        call_starts: Start of each operation's call, ns.
        call_ends: End of each operation's call, ns.
        operations: The operations.
    """

    call_starts: Sequence[int]
    call_ends: Sequence[int]
    operations: Sequence[GpuOperation]


_NOTHING: Final = _Launched((), (), ())


def _launched_by_thread(calls: Sequence[ApiCall], operations: Sequence[GpuOperation]) -> dict[int, _Launched]:
    """Join calls and operations as columns, which is five times as fast as joining records."""
    if not calls or not operations:
        return {}
    thread, correlation, start_ns, end_ns = _merged(*_columns(calls, 4))
    key, work_key = _keys((process_of(thread), correlation), _columns(operations, 2))
    # A graph that was traced both as a whole and node by node counts by its nodes.
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
    """Return the first columns of rows, which contain integers."""
    return [np.fromiter(map(itemgetter(at), rows), np.int64, len(rows)) for at in range(count)]


def _merged(thread: Column, correlation: Column, start_ns: Column, end_ns: Column) -> tuple[Column, ...]:
    """Merge the rows of each call, which may come from the runtime and from the driver below it."""
    order = np.lexsort((correlation, thread))
    thread, correlation, start_ns, end_ns = (column[order] for column in (thread, correlation, start_ns, end_ns))
    changes = (thread[1:] != thread[:-1]) | (correlation[1:] != correlation[:-1])
    first = np.append(0, np.flatnonzero(changes) + 1)
    starts, ends = np.minimum.reduceat(start_ns, first), np.maximum.reduceat(end_ns, first)
    return thread[first], correlation[first], starts, ends


def _keys(*pairs: Sequence[Column]) -> list[Column]:
    """Return one number per pair of process and correlation id, equal for equal pairs."""
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
