# SPDX-License-Identifier: MIT
"""Totals of GPU time by range name, by kernel and by device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from virnuc_profiler.analysis.nsys.gpu_capture import KINDS, Operations, Ranges
from virnuc_profiler.analysis.nsys.group_work import GroupWork, sum_by_group
from virnuc_profiler.analysis.nsys.launch_columns import drop_traced_graphs
from virnuc_profiler.analysis.nsys.projection import Projection, Projections
from virnuc_profiler.analysis.nsys.range_work import range_work
from virnuc_profiler.analysis.timing.interval_columns import length as column_length
from virnuc_profiler.analysis.timing.intervals import length
from virnuc_profiler.analysis.timing.statistics import percentile
from virnuc_profiler.telemetry.stage_columns import Column, Mask

_MAX_RECORDS: Final = 1000
"""Most ranges of a group that become records, which take 20 times the memory of columns."""


@dataclass(frozen=True, slots=True)
class KernelTotal:
    """Total of the operations with one name.

    Attributes:
        kind: ``kernel``, ``memcpy``, ``memset`` or ``graph``.
        name: Name of the operations.
        operations: Number of operations.
        total_ns: Sum of their durations.
    """

    kind: str
    name: str
    operations: int
    total_ns: int


@dataclass(frozen=True, slots=True)
class RangeTotal:
    """Total of the ranges with one name. If such ranges nest or overlap, their operations count once.

    Medians are over the ranges that launched operations, and None if no range did.

    Attributes:
        domain: Domain of the ranges.
        name: Name of the ranges.
        ranges: Number of ranges.
        ranges_on_gpu: Number of ranges that launched operations.
        operations: Number of operations launched inside the ranges.
        total_ns: Sum of the operations' durations.
        kernel_ns: Part of `total_ns` in kernels and graphs.
        busy_ns: Time in which at least one of the operations ran, on any device.
        idle_ns: Sum over the ranges of the idle time within their spans.
        longest_gap_ns: Longest idle time within a span.
        median_total_ns: Median sum of durations in a range.
        median_busy_ns: Median busy time of a range.
        median_span_ns: Median span of a range.
        median_idle_ns: Median idle time within the span of a range.
        median_launch_delay_ns: Median delay from the first launching call to its operation.
        devices: Numbers of the devices.
        kernels: Totals by kernel, the longest first.
    """

    domain: str
    name: str
    ranges: int
    ranges_on_gpu: int
    operations: int
    total_ns: int
    kernel_ns: int
    busy_ns: int
    idle_ns: int
    longest_gap_ns: int
    median_total_ns: float | None
    median_busy_ns: float | None
    median_span_ns: float | None
    median_idle_ns: float | None
    median_launch_delay_ns: float | None
    devices: tuple[int, ...]
    kernels: tuple[KernelTotal, ...]


@dataclass(frozen=True, slots=True)
class DeviceTotal:
    """Total of one device in a capture.

    Attributes:
        device: Number of the device.
        operations: Number of operations.
        total_ns: Sum of their durations.
        kernel_ns: Part of `total_ns` in kernels and graphs.
        busy_ns: Time in which at least one operation ran.
        span_ns: Time from the start of the first operation to the end of the last.
        kernels: Totals by kernel, the longest first.
    """

    device: int
    operations: int
    total_ns: int
    kernel_ns: int
    busy_ns: int
    span_ns: int
    kernels: tuple[KernelTotal, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RangeTotals:
    """Totals by domain and name, the most GPU time first, each computed when it is asked for.

    A capture whose names contain iteration numbers has as many names as ranges.

    Attributes:
        work: Work of the ranges, grouped by domain and name.
        order: Groups in the order of the totals.
        on_gpu: Whether a group's ranges launched operations, in the order of the totals.
    """

    work: GroupWork
    order: Column
    on_gpu: Mask

    def __len__(self) -> int:
        return len(self.on_gpu)

    def __getitem__(self, at: int) -> RangeTotal:
        group = int(self.order[at])
        members, projections = self.work.ranges_of(group), self.work.projections
        domain, name = self.label(at)
        if not self.on_gpu[at]:
            return _total_without_work(domain, name, len(members))
        if len(members) > _MAX_RECORDS:
            return _column_total(domain, name, self.work, group)
        return range_total(domain, name, [projections[member] for member in members.tolist()])

    def __iter__(self) -> Iterator[RangeTotal]:
        return map(self.__getitem__, range(len(self)))

    def label(self, at: int) -> tuple[str, str]:
        """Return domain and name of a total.

        Args:
            at: Position of the total.
        """
        return self.work.label(int(self.order[at]))

    def largest(self, count: int) -> list[RangeTotal]:
        """Return the totals with the most GPU time.

        Args:
            count: Maximum number of totals.
        """
        return [self[at] for at in range(min(count, len(self)))]


def total_by_name(projections: Projections) -> RangeTotals:
    """Return totals by domain and name, the most GPU time first, and equal ones in the order of their first ranges.

    Args:
        projections: Projections of ranges with any names.
    """
    first, group = group_by_name(projections.ranges)
    work = GroupWork.of(projections, group, len(first))
    operations = projections.launches.operations
    on_gpu = work.sums(np.ones(len(operations), np.int64)) > 0
    order = np.lexsort((first, -work.sums(operations.duration_ns)))
    return RangeTotals(work, order, on_gpu[order])


def group_by_name(ranges: Ranges) -> tuple[Column, Column]:
    """Return the first range of each domain and name, and the number of each range's domain and name.

    Args:
        ranges: Ranges of a capture.
    """
    key = ranges.domain.astype(np.int64) * max(len(ranges.names), 1) + ranges.name
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    return first, group.reshape(-1)


def range_total(domain: str, name: str, projections: Sequence[Projection]) -> RangeTotal:
    """Return the total of ranges with one name.

    Args:
        domain: Domain of the ranges.
        name: Name of the ranges.
        projections: Projections of the ranges; there may be none.
    """
    distinct = {operation.row: operation for projection in projections for operation in projection.operations}
    operations = list(distinct.values())
    active = [projection for projection in projections if projection.operations]
    return RangeTotal(
        domain=domain,
        name=name,
        ranges=len(projections),
        ranges_on_gpu=len(active),
        operations=len(operations),
        total_ns=sum(operation.duration_ns for operation in operations),
        kernel_ns=sum(operation.duration_ns for operation in operations if operation.kind in ("kernel", "graph")),
        busy_ns=length((operation.start_ns, operation.end_ns) for operation in operations),
        idle_ns=sum(projection.idle_ns or 0 for projection in active),
        longest_gap_ns=max((projection.longest_gap_ns for projection in active), default=0),
        median_total_ns=percentile((projection.total_ns for projection in active), 50),
        median_busy_ns=percentile((projection.busy_ns for projection in active), 50),
        median_span_ns=percentile((projection.span_ns for projection in active), 50),
        median_idle_ns=percentile((projection.idle_ns for projection in active), 50),
        median_launch_delay_ns=percentile((projection.launch_delay_ns for projection in active), 50),
        devices=tuple(sorted({operation.device for operation in operations})),
        kernels=total_by_kernel(Operations.from_records(operations)),
    )


def total_by_kernel(operations: Operations) -> tuple[KernelTotal, ...]:
    """Return totals by kind and name, the longest first.

    Args:
        operations: Operations to add up.
    """
    key = operations.kind.astype(np.int64) * max(len(operations.names), 1) + operations.name
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    counts = np.bincount(group, minlength=len(first)).tolist()
    times = sum_by_group(operations.duration_ns, group, len(first)).tolist()
    kinds, names = operations.kind[first].tolist(), operations.name[first].tolist()
    totals = [
        KernelTotal(KINDS[kind], operations.names[name], count, total_ns)
        for kind, name, count, total_ns in zip(kinds, names, counts, times, strict=True)
    ]
    return tuple(sorted(totals, key=lambda total: (-total.total_ns, total.kind, total.name)))


def total_by_device(operations: Operations) -> list[DeviceTotal]:
    """Return totals by device, in the order of their numbers.

    Args:
        operations: All operations of a capture. A graph that was traced as a whole and by node counts by its nodes.
    """
    operations = drop_traced_graphs(operations)
    devices, group = np.unique(operations.device, return_inverse=True)
    return [
        _device_total(device, operations.take(np.flatnonzero(group.reshape(-1) == number)))
        for number, device in enumerate(devices.tolist())
    ]


def _total_without_work(domain: str, name: str, ranges: int) -> RangeTotal:
    return RangeTotal(domain, name, ranges, 0, 0, 0, 0, 0, 0, 0, None, None, None, None, None, (), ())


def _column_total(domain: str, name: str, work: GroupWork, group: int) -> RangeTotal:
    """Return the same as :func:`range_total` for a group with very many ranges, without a record for each."""
    members, operations = work.ranges_of(group), work.projections.launches.operations
    rows = work.operations_of(group)
    chosen, each = operations.take(rows), range_work(work.projections, members)
    active = each.operations > 0

    def median(values: Column) -> float:
        return float(np.median(values[active]))

    return RangeTotal(
        domain=domain,
        name=name,
        ranges=len(members),
        ranges_on_gpu=int(active.sum()),
        operations=len(rows),
        total_ns=int(chosen.duration_ns.sum()),
        kernel_ns=int(chosen.duration_ns[chosen.on_kernels].sum()),
        busy_ns=column_length(chosen.start_ns, chosen.end_ns),
        idle_ns=int(each.idle_ns.sum()),
        longest_gap_ns=int(each.longest_gap_ns.max()),
        median_total_ns=median(each.total_ns),
        median_busy_ns=median(each.busy_ns),
        median_span_ns=median(each.busy_ns + each.idle_ns),
        median_idle_ns=median(each.idle_ns),
        median_launch_delay_ns=median(each.launch_delay_ns),
        devices=tuple(np.unique(chosen.device).tolist()),
        kernels=total_by_kernel(chosen),
    )


def _device_total(device: int, operations: Operations) -> DeviceTotal:
    durations = operations.duration_ns
    return DeviceTotal(
        device=device,
        operations=len(operations),
        total_ns=int(durations.sum()),
        kernel_ns=int(durations[operations.on_kernels].sum()),
        busy_ns=column_length(operations.start_ns, operations.end_ns),
        span_ns=int(operations.end_ns.max()) - int(operations.start_ns.min()),
        kernels=total_by_kernel(operations),
    )
