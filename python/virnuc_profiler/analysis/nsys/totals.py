# SPDX-License-Identifier: MIT
"""Totals of GPU time by range name, by kernel and by device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from virnuc_profiler.analysis.nsys.gpu_records import GpuOperation
from virnuc_profiler.analysis.nsys.projection import Projection
from virnuc_profiler.analysis.timing.intervals import length
from virnuc_profiler.analysis.timing.statistics import percentile


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


def total_by_name(projections: Iterable[Projection]) -> list[RangeTotal]:
    """Return totals by domain and name, the most GPU time first.

    Args:
        projections: Projections of ranges with any names.
    """
    groups: dict[tuple[str, str], list[Projection]] = {}
    for projection in projections:
        groups.setdefault((projection.range.domain, projection.range.name), []).append(projection)
    totals = [range_total(domain, name, group) for (domain, name), group in groups.items()]
    return sorted(totals, key=lambda total: (-total.total_ns, total.domain, total.name))


def range_total(domain: str, name: str, projections: Sequence[Projection]) -> RangeTotal:
    """Return the total of ranges with one name.

    Args:
        domain: Domain of the ranges.
        name: Name of the ranges.
        projections: Projections of the ranges; there may be none.
    """
    # By identity: the records of two nodes of a graph may be equal.
    distinct = {id(operation): operation for projection in projections for operation in projection.operations}
    operations = list(distinct.values())
    active = [projection for projection in projections if projection.operations]
    return RangeTotal(
        domain=domain,
        name=name,
        ranges=len(projections),
        ranges_on_gpu=len(active),
        operations=len(operations),
        total_ns=_total_ns(operations),
        kernel_ns=_kernel_ns(operations),
        busy_ns=_busy_ns(operations),
        idle_ns=sum(projection.idle_ns or 0 for projection in active),
        longest_gap_ns=max((projection.longest_gap_ns for projection in active), default=0),
        median_total_ns=percentile((projection.total_ns for projection in active), 50),
        median_busy_ns=percentile((projection.busy_ns for projection in active), 50),
        median_span_ns=percentile((projection.span_ns for projection in active), 50),
        median_idle_ns=percentile((projection.idle_ns for projection in active), 50),
        median_launch_delay_ns=percentile((projection.launch_delay_ns for projection in active), 50),
        devices=tuple(sorted({operation.device for operation in operations})),
        kernels=total_by_kernel(operations),
    )


def total_by_kernel(operations: Iterable[GpuOperation]) -> tuple[KernelTotal, ...]:
    """Return totals by kind and name, the longest first.

    Args:
        operations: Operations to add up.
    """
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for operation in operations:
        count, total_ns = sums.get((operation.kind, operation.name), (0, 0))
        sums[operation.kind, operation.name] = (count + 1, total_ns + operation.duration_ns)
    totals = (KernelTotal(kind, name, *values) for (kind, name), values in sums.items())
    return tuple(sorted(totals, key=lambda total: (-total.total_ns, total.kind, total.name)))


def total_by_device(operations: Iterable[GpuOperation]) -> list[DeviceTotal]:
    """Return totals by device, in the order of their numbers.

    Args:
        operations: All operations of a capture.
    """
    by_device: dict[int, list[GpuOperation]] = {}
    for operation in operations:
        by_device.setdefault(operation.device, []).append(operation)
    return [
        DeviceTotal(
            device=device,
            operations=len(group),
            total_ns=_total_ns(group),
            kernel_ns=_kernel_ns(group),
            busy_ns=_busy_ns(group),
            span_ns=max(operation.end_ns for operation in group) - min(operation.start_ns for operation in group),
            kernels=total_by_kernel(group),
        )
        for device, group in sorted(by_device.items())
    ]


def _total_ns(operations: Iterable[GpuOperation]) -> int:
    return sum(operation.duration_ns for operation in operations)


def _kernel_ns(operations: Iterable[GpuOperation]) -> int:
    return sum(operation.duration_ns for operation in operations if operation.kind in ("kernel", "graph"))


def _busy_ns(operations: Iterable[GpuOperation]) -> int:
    return length((operation.start_ns, operation.end_ns) for operation in operations)
