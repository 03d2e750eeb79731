# SPDX-License-Identifier: MIT
"""Totals of GPU time by range name, by kernel and by device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from virnuc_profiler.analysis.nsys.gpu_capture import KINDS, Operations
from virnuc_profiler.analysis.nsys.launch_columns import drop_traced_graphs
from virnuc_profiler.analysis.nsys.projection import Projection, Projections
from virnuc_profiler.analysis.timing.interval_columns import length as column_length
from virnuc_profiler.analysis.timing.intervals import length
from virnuc_profiler.analysis.timing.statistics import percentile
from virnuc_profiler.telemetry.stage_columns import Column, Mask


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
        projections: Projections of the ranges.
        members: Positions of the ranges, grouped by domain and name.
        bounds: Start and end of each group in `members`, in the order of the totals, as columns of shape (2, groups).
        on_gpu: Whether a group's ranges launched operations, in the order of the totals.
    """

    projections: Projections
    members: Column
    bounds: Column
    on_gpu: Mask

    def __len__(self) -> int:
        return len(self.on_gpu)

    def __getitem__(self, at: int) -> RangeTotal:
        low, high = self.bounds[:, at].tolist()
        members = self.members[low:high].tolist()
        first = self.projections.ranges[members[0]]
        if not self.on_gpu[at]:
            return _total_without_work(first.domain, first.name, len(members))
        return range_total(first.domain, first.name, [self.projections[member] for member in members])

    def __iter__(self) -> Iterator[RangeTotal]:
        return map(self.__getitem__, range(len(self)))

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
    ranges = projections.ranges
    key = ranges.domain.astype(np.int64) * max(len(ranges.names), 1) + ranges.name
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    members = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group, minlength=len(first)))
    bounds = np.stack([np.append(0, ends)[:-1], ends])
    total_ns, on_gpu = _gpu_time_by_group(projections, group, members, bounds)
    order = np.lexsort((first, -total_ns))
    return RangeTotals(projections, members, bounds[:, order], on_gpu[order])


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


def sum_by_group(values: Column, group: Column, groups: int) -> Column:
    """Return the sum of the values in each group, as a column of shape (groups,).

    Args:
        values: Values to add up, exactly.
        group: Group of each value, from 0 to `groups` - 1.
        groups: Number of groups.
    """
    total = np.zeros(groups, np.int64)
    np.add.at(total, group, values)
    return total


def _gpu_time_by_group(projections: Projections, group: Column, members: Column, bounds: Column) -> tuple[Column, Mask]:
    """Return the GPU time of each group's operations, each of which counts once, and whether there are any.

    The launches of a range are consecutive. The ranges of a group that overlap are merged as intervals of launches,
    by the same trick as in `length_by_group`; prefix sums give the time of each interval.
    """
    launches, groups = projections.launches, bounds.shape[1]
    chosen = np.flatnonzero(projections.first < projections.last)
    chosen = chosen[np.lexsort((projections.first[chosen], group[chosen]))]
    first, last, group_of = projections.first[chosen], projections.last[chosen], group[chosen]
    base = group_of * (len(launches) + 1)
    reached = np.maximum.accumulate(last + base)
    begin = np.minimum(np.maximum(first, np.append(0, reached[:-1]) - base), last)
    durations = launches.operations.duration_ns[launches.operation]
    until = np.append(0, np.cumsum(durations))
    total_ns = sum_by_group(until[last] - until[begin], group_of, groups)
    on_gpu = np.bincount(group_of, minlength=groups) > 0
    for at in np.unique(group_of[_irregular(projections, chosen)]).tolist():  # few: those are counted one by one
        low, high = bounds[:, at].tolist()
        positions = np.concatenate([projections.launched(member) for member in members[low:high].tolist()])
        rows = np.unique(launches.operation[positions])
        total_ns[at], on_gpu[at] = launches.operations.duration_ns[rows].sum(), len(rows) > 0
    return total_ns, on_gpu


def _irregular(projections: Projections, chosen: Column) -> Mask:
    """Return which ranges have launches that straddle their ends, or operations that another launch has too."""
    operation = projections.launches.operation
    repeated = np.bincount(operation, minlength=1)[operation] > 1
    until = np.append(0, np.cumsum(repeated))
    found: Mask = until[projections.last[chosen]] > until[projections.first[chosen]]
    return found | projections.straddled[chosen]


def _total_without_work(domain: str, name: str, ranges: int) -> RangeTotal:
    return RangeTotal(domain, name, ranges, 0, 0, 0, 0, 0, 0, 0, None, None, None, None, None, (), ())


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
