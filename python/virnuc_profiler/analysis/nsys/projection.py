# SPDX-License-Identifier: MIT
"""Projection of NVTX ranges onto the GPU: from a range on a host thread to the operations launched inside it.

API calls connect the two: a call on the range's thread that lies inside the range launched the operations of its
process with the same correlation id. Ranges nest, so an operation belongs to every range around its launch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.nsys.gpu_capture import Calls, Operations, Ranges
from virnuc_profiler.analysis.nsys.gpu_records import GpuOperation, NvtxRange
from virnuc_profiler.analysis.nsys.launch_columns import Launches, join_launches
from virnuc_profiler.analysis.timing.intervals import union
from virnuc_profiler.telemetry.stage_columns import Column, Mask


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


@dataclass(frozen=True, slots=True, eq=False)
class Projections:
    """Projections of many ranges, each computed when it is asked for: a capture may have millions.

    The columns have the shape (ranges,). Launches are those of :class:`Launches`, by position.

    Attributes:
        ranges: The ranges.
        launches: Launches of the capture.
        first: First launch whose call begins within the range.
        last: One past the last such launch.
        straddled: Whether some of these calls may end after the range. Such calls are outside of it.
    """

    ranges: Ranges
    launches: Launches
    first: Column
    last: Column
    straddled: Mask

    def __len__(self) -> int:
        return len(self.ranges)

    def __getitem__(self, at: int) -> Projection:
        return _projection(self.ranges[at], self.launches, self.launched(at))

    def __iter__(self) -> Iterator[Projection]:
        return map(self.__getitem__, range(len(self)))

    def take(self, chosen: NDArray[Any]) -> Projections:
        """Return the projections of the ranges selected by a mask or by positions.

        Args:
            chosen: Mask, or positions.
        """
        columns = (self.first, self.last, self.straddled)
        return Projections(self.ranges.take(chosen), self.launches, *(column[chosen] for column in columns))

    def launched(self, at: int) -> Column:
        """Return the launches inside a range.

        Args:
            at: Position of the range.
        """
        inside = np.arange(self.first[at], self.last[at])
        if self.straddled[at]:
            inside = inside[self.launches.call_end_ns[inside] <= self.ranges.end_ns[at]]
        return inside


def project(ranges: Ranges, calls: Calls, operations: Operations) -> Projections:
    """Project ranges onto the GPU, in O((n + m) log n) for n calls and m ranges.

    Args:
        ranges: Ranges to project.
        calls: API calls of the capture.
        operations: GPU operations of the capture.

    Returns:
        The projections, in the order of the ranges.
    """
    launches = join_launches(calls, operations)
    first, last = np.zeros(len(ranges), np.int64), np.zeros(len(ranges), np.int64)
    straddled = np.zeros(len(ranges), np.bool_)
    by_thread = np.argsort(ranges.thread, kind="stable")
    threads = ranges.thread[by_thread]
    changes = np.flatnonzero(np.diff(launches.thread)) + 1
    for low, high in pairwise([0, *changes.tolist(), len(launches)] if len(launches) else []):
        thread = launches.thread[low]
        there = by_thread[np.searchsorted(threads, thread, "left") : np.searchsorted(threads, thread, "right")]
        starts = launches.call_start_ns[low:high]
        first[there] = low + np.searchsorted(starts, ranges.start_ns[there], "left")
        last[there] = low + np.searchsorted(starts, ranges.end_ns[there], "right")
        some = there[first[there] < last[there]]
        latest_ends = np.maximum.accumulate(launches.call_end_ns[low:high])
        straddled[some] = latest_ends[last[some] - low - 1] > ranges.end_ns[some]
    return Projections(ranges, launches, first, np.maximum(first, last), straddled)


def _projection(range_: NvtxRange, launches: Launches, inside: Column) -> Projection:
    if not len(inside):
        return Projection(range_)
    operations = tuple(launches.operations.records(launches.operation[inside]))
    calls = launches.call_start_ns[inside].tolist()
    busy = union((operation.start_ns, operation.end_ns) for operation in operations)
    gaps = [later[0] - earlier[1] for earlier, later in pairwise(busy)]
    start_ns, launched_ns = min(zip((operation.start_ns for operation in operations), calls, strict=True))
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
