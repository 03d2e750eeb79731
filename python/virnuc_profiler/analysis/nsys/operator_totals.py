# SPDX-License-Identifier: MIT
"""GPU time by operator: what the ranges of each launched themselves, and with all that they enclose.

Self times of all operators add up to the GPU time in ranges. Total times overlap where ranges of different operators
nest; where ranges of the same operator nest, each operation counts once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from virnuc_profiler.analysis.nsys.group_work import GroupWork, sum_by_group
from virnuc_profiler.analysis.nsys.projection import Projections
from virnuc_profiler.analysis.nsys.range_work import range_work
from virnuc_profiler.analysis.nsys.self_time import NO_RANGE
from virnuc_profiler.analysis.nsys.totals import KernelTotal, group_by_name, total_by_kernel
from virnuc_profiler.telemetry.stage_columns import Column, Mask

SortBy = Literal["self", "total"]
"""Time by which operators are sorted."""

OTHER_RANGE: Final = -2
"""Stands for the group of an operation whose innermost range is not shown."""


@dataclass(frozen=True, slots=True)
class DeviceShare:
    """Time of an operator on one device.

    Attributes:
        device: Number of the device.
        self_ns: Self time there.
        total_ns: Total time there.
    """

    device: int
    self_ns: int
    total_ns: int


@dataclass(frozen=True, slots=True)
class OperatorTotal:
    """Total of the ranges of one operator.

    Attributes:
        domain: NVTX domain of the ranges.
        name: Name of the operator.
        ranges: Number of ranges.
        ranges_on_gpu: Number of ranges that launched operations.
        operations: Number of operations launched inside the ranges, each once.
        self_ns: GPU time of the operations whose innermost range is one of these.
        total_ns: GPU time of the operations launched inside the ranges, each once.
        median_total_ns: Median GPU time of the ranges that launched operations; None if there are none.
        devices: Times by device, in the order of their numbers.
    """

    domain: str
    name: str
    ranges: int
    ranges_on_gpu: int
    operations: int
    self_ns: int
    total_ns: int
    median_total_ns: float | None
    devices: tuple[DeviceShare, ...]


@dataclass(frozen=True, slots=True, eq=False)
class OperatorTotals:
    """Totals by operator, each computed when it is asked for. All columns are in the same order.

    Attributes:
        work: Work of the ranges shown, grouped by domain and operator.
        order: Groups in the order of the totals.
        self_ns: Self time.
        total_ns: Total time.
        group: Group of each operation's innermost range; ``OTHER_RANGE`` if that one is not shown, ``NO_RANGE`` if the
            operation was launched in none.
    """

    work: GroupWork
    order: Column
    self_ns: Column
    total_ns: Column
    group: Column

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, at: int) -> OperatorTotal:
        group = int(self.order[at])
        members = self.work.ranges_of(group)
        each = range_work(self.work.projections, members)
        active = each.operations > 0
        domain, name = self.label(at)
        return OperatorTotal(
            domain=domain,
            name=name,
            ranges=len(members),
            ranges_on_gpu=int(active.sum()),
            operations=len(self.work.operations_of(group)),
            self_ns=int(self.self_ns[at]),
            total_ns=int(self.total_ns[at]),
            median_total_ns=float(np.median(each.total_ns[active])) if active.any() else None,
            devices=self._devices(group),
        )

    def __iter__(self) -> Iterator[OperatorTotal]:
        return map(self.__getitem__, range(len(self)))

    @property
    def on_gpu(self) -> Mask:
        """Mask of the operators that launched operations."""
        operations = np.ones(len(self.work.projections.launches.operations), np.int64)
        found: Mask = self.work.sums(operations)[self.order] > 0
        return found

    @property
    def domains(self) -> list[str]:
        """Domains of the operators."""
        ranges = self.work.projections.ranges
        return [ranges.names[code] for code in np.unique(ranges.domain).tolist()]

    def label(self, at: int) -> tuple[str, str]:
        """Return domain and name of an operator.

        Args:
            at: Position of the operator.
        """
        return self.work.label(int(self.order[at]))

    def largest(self, count: int) -> list[OperatorTotal]:
        """Return the first totals.

        Args:
            count: Maximum number of totals.
        """
        return [self[at] for at in range(min(count, len(self)))]

    def kernels(self, at: int) -> tuple[KernelTotal, ...]:
        """Return the totals by kernel of an operator, the longest first.

        Args:
            at: Position of the operator.
        """
        rows = self.work.operations_of(int(self.order[at]))
        return total_by_kernel(self.work.projections.launches.operations.take(rows))

    def _devices(self, group: int) -> tuple[DeviceShare, ...]:
        operations = self.work.projections.launches.operations
        rows = self.work.operations_of(group)
        durations = operations.duration_ns[rows]
        devices, place = np.unique(operations.device[rows], return_inverse=True)
        total = sum_by_group(durations, place.reshape(-1), len(devices))
        alone = sum_by_group(np.where(self.group[rows] == group, durations, 0), place.reshape(-1), len(devices))
        columns = (devices.tolist(), alone.tolist(), total.tolist())
        return tuple(DeviceShare(*values) for values in zip(*columns, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class SelfTimes:
    """All GPU time by device, ns. The other columns have the shape (devices,).

    Attributes:
        devices: Numbers of the devices.
        operators: Self times of the first operators, of shape (operators, devices).
        more_operators: Self time of the operators after these.
        other_ranges: GPU time of the operations whose innermost range is of no operator shown.
        no_range: GPU time of the operations that were launched in no range.
    """

    devices: tuple[int, ...]
    operators: Column
    more_operators: Column
    other_ranges: Column
    no_range: Column

    @property
    def all(self) -> Column:
        """GPU time of all operations."""
        found: Column = self.operators.sum(axis=0) + self.more_operators + self.other_ranges + self.no_range
        return found


def total_by_operator(
    projections: Projections, innermost: Column, chosen: Column, sort_by: SortBy = "self"
) -> OperatorTotals:
    """Return totals by domain and operator, the most GPU time first, and equal ones in the order of their first ranges.

    Args:
        projections: Projections of all ranges of a capture, named by their operators.
        innermost: Innermost range of each operation, from :func:`innermost_ranges`.
        chosen: Positions of the ranges to show, in ascending order.
        sort_by: Time to sort by; the other one decides between equal ones.
    """
    shown = projections.take(chosen)
    first, group = group_by_name(shown.ranges)
    work = GroupWork.of(shown, group, len(first))
    durations = projections.launches.operations.duration_ns
    group_of_range = np.full(len(projections) + 1, OTHER_RANGE)
    group_of_range[chosen] = group
    group_of_range[NO_RANGE] = NO_RANGE  # the last one, which is no range's
    of_operation = group_of_range[innermost]
    inside = of_operation >= 0
    self_ns = sum_by_group(durations[inside], of_operation[inside], len(first))
    total_ns = work.sums(durations)
    keys = (self_ns, total_ns) if sort_by == "self" else (total_ns, self_ns)
    order = np.lexsort((first, *(-key for key in reversed(keys))))
    return OperatorTotals(work, order, self_ns[order], total_ns[order], of_operation)


def divide_self_time(totals: OperatorTotals, count: int) -> SelfTimes:
    """Divide all GPU time by device and by operator; each operation counts exactly once.

    Args:
        totals: Totals by operator.
        count: Number of operators that get a row of their own.
    """
    operations, count = totals.work.projections.launches.operations, min(count, len(totals))
    row_of_group = np.full(len(totals) + 2, count)
    row_of_group[totals.order[:count]] = np.arange(count)
    row_of_group[[OTHER_RANGE, NO_RANGE]] = count + 1, count + 2
    devices, place = np.unique(operations.device, return_inverse=True)
    times = np.zeros((count + 3, len(devices)), np.int64)
    np.add.at(times, (row_of_group[totals.group], place.reshape(-1)), operations.duration_ns)
    return SelfTimes(tuple(devices.tolist()), times[:count], *times[count:])
