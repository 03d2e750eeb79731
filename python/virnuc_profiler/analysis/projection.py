# SPDX-License-Identifier: MIT
"""NVTX ranges projected on the GPU: from a range on a host thread to the operations that were launched inside it.

The way goes through the API calls: a call on the range's thread, from start to end inside the range, has launched the
operations of its process that carry its correlation id. Ranges nest, so an operation belongs to every range that
encloses its launch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from virnuc_profiler.analysis.gpu_records import ApiCall, GpuOperation, NvtxRange, process_of
from virnuc_profiler.analysis.intervals import union


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
    launches = _launches_by_thread(calls, operations)
    starts = {thread: [launch.start_ns for launch in sorted_] for thread, sorted_ in launches.items()}
    projections = []
    for range_ in ranges:
        candidates = launches.get(range_.thread, ())
        inside = []
        for at in range(bisect_left(starts.get(range_.thread, ()), range_.start_ns), len(candidates)):
            launch = candidates[at]
            if launch.start_ns > range_.end_ns:
                break
            if launch.end_ns <= range_.end_ns:
                inside.append(launch)
        projections.append(_projection(range_, inside))
    return projections


@dataclass(frozen=True, slots=True)
class _Launch:
    """A call and what it launched; all rows of one call are one."""

    start_ns: int
    end_ns: int
    operations: Sequence[GpuOperation]


def _launches_by_thread(calls: Iterable[ApiCall], operations: Iterable[GpuOperation]) -> dict[int, list[_Launch]]:
    """The calls that launched something, by thread and in order of time."""
    launched: dict[tuple[int, int], list[GpuOperation]] = {}
    for operation in operations:
        launched.setdefault((operation.process, operation.correlation), []).append(operation)
    # A call may have several rows: of the runtime and of the driver below it, or of two tracing layers.
    times: dict[tuple[int, int], tuple[int, int]] = {}
    for thread, correlation, start_ns, end_ns in calls:
        if (process_of(thread), correlation) in launched:
            start, end = times.get((thread, correlation), (start_ns, end_ns))
            times[thread, correlation] = (min(start, start_ns), max(end, end_ns))
    by_thread: dict[int, list[_Launch]] = {}
    for (thread, correlation), (start_ns, end_ns) in times.items():
        work = _without_doubles(launched[process_of(thread), correlation])
        by_thread.setdefault(thread, []).append(_Launch(start_ns, end_ns, work))
    for launches in by_thread.values():
        launches.sort(key=lambda launch: launch.start_ns)
    return by_thread


def _without_doubles(operations: Sequence[GpuOperation]) -> Sequence[GpuOperation]:
    """A graph that was traced as a whole and node by node counts by its nodes."""
    nodes = [operation for operation in operations if operation.kind != "graph"]
    return nodes or operations


def _projection(range_: NvtxRange, launches: Sequence[_Launch]) -> Projection:
    operations = tuple(operation for launch in launches for operation in launch.operations)
    if not operations:
        return Projection(range_)
    busy = union((operation.start_ns, operation.end_ns) for operation in operations)
    gaps = [later[0] - earlier[1] for earlier, later in pairwise(busy)]
    start_ns, launched_ns = min(
        (operation.start_ns, launch.start_ns) for launch in launches for operation in launch.operations
    )
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
