# SPDX-License-Identifier: MIT
"""The GPU work of a capture, divided by what its NVTX ranges explain of it, so that nothing goes unmentioned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from virnuc_profiler.analysis.nsys.gpu_capture import Ranges
from virnuc_profiler.analysis.nsys.gpu_records import process_of
from virnuc_profiler.analysis.nsys.launch_columns import Launches
from virnuc_profiler.analysis.nsys.projection import Projections
from virnuc_profiler.analysis.timing.interval_columns import length, union
from virnuc_profiler.telemetry.stage_columns import Column, Mask

# How an operation relates to the ranges. If several calls launched it, the largest number counts.
_WITHOUT_LAUNCH: Final = 0
_OUTSIDE: Final = 1
_OTHER_THREAD: Final = 2
_INSIDE: Final = 3


@dataclass(frozen=True, slots=True)
class WorkTotal:
    """Total of some operations.

    Attributes:
        operations: Number of operations.
        total_ns: Sum of their durations; concurrent operations count separately.
        busy_ns: Time in which at least one of them ran, on any device.
    """

    operations: int
    total_ns: int
    busy_ns: int


@dataclass(frozen=True, slots=True)
class GpuWork:
    """GPU work of a capture. Each operation belongs to exactly one of the parts below `all`.

    Attributes:
        all: All operations of the capture.
        in_ranges: Operations that were launched inside at least one range, by its thread.
        outside_ranges: Operations that were launched while no range of another thread of the process was open, and
            outside the ranges of their own thread.
        other_threads: Operations that were launched while a range of another thread of the process was open, and
            outside the ranges of their own thread. PyTorch's backward pass does so.
        without_launch: Operations whose launching call is not in the capture.
    """

    all: WorkTotal
    in_ranges: WorkTotal
    outside_ranges: WorkTotal
    other_threads: WorkTotal
    without_launch: WorkTotal

    @property
    def share_in_ranges(self) -> float | None:
        """Share of the GPU time in ranges, 0 to 1; None without GPU time."""
        return self.in_ranges.total_ns / self.all.total_ns if self.all.total_ns else None


def divide_work(projections: Projections) -> GpuWork:
    """Divide the operations of a capture by how they relate to ranges.

    Args:
        projections: Projections of the ranges.
    """
    launches = projections.launches
    inside, within = launches_inside(projections)
    # A call that begins within a range of its thread and ends after it is not hidden by another thread.
    elsewhere = ~within & _during_ranges(projections.ranges, launches)
    kind = np.full(len(launches), _OUTSIDE)
    kind[elsewhere] = _OTHER_THREAD
    kind[inside] = _INSIDE
    part = np.full(len(launches.operations), _WITHOUT_LAUNCH)
    np.maximum.at(part, launches.operation, kind)
    return GpuWork(
        all=_total(launches, np.ones(len(part), np.bool_)),
        in_ranges=_total(launches, part == _INSIDE),
        outside_ranges=_total(launches, part == _OUTSIDE),
        other_threads=_total(launches, part == _OTHER_THREAD),
        without_launch=_total(launches, part == _WITHOUT_LAUNCH),
    )


def launches_inside(projections: Projections) -> tuple[Mask, Mask]:
    """Return which launches lie inside a range of their thread, and which at least begin within one.

    Args:
        projections: Projections of the ranges.
    """
    whole = ~projections.straddled
    inside = _covered(projections.first[whole], projections.last[whole], len(projections.launches))
    for at in np.flatnonzero(projections.straddled).tolist():
        inside[projections.launched(at)] = True
    return inside, _covered(projections.first, projections.last, len(projections.launches))


def _covered(first: Column, last: Column, count: int) -> Mask:
    """Return which of `count` positions lie in at least one of the intervals from `first` to before `last`."""
    change = np.zeros(count + 1, np.int64)
    np.add.at(change, first, 1)
    np.add.at(change, last, -1)
    covered: Mask = np.cumsum(change)[:-1] > 0
    return covered


def _during_ranges(ranges: Ranges, launches: Launches) -> Mask:
    """Return which launches began while a range of their process was open, on any thread."""
    found = np.zeros(len(launches), np.bool_)
    of_range, of_launch = process_of(ranges.thread), process_of(launches.thread)
    for process in np.unique(of_launch).tolist():
        ours = of_range == process
        there = np.flatnonzero(of_launch == process)
        starts, ends = union(ranges.start_ns[ours], ranges.end_ns[ours])
        if len(starts):
            times = launches.call_start_ns[there]
            at = np.searchsorted(starts, times, "right") - 1
            found[there] = (at >= 0) & (times <= ends[at])
    return found


def _total(launches: Launches, chosen: Mask) -> WorkTotal:
    operations = launches.operations
    starts, ends = operations.start_ns[chosen], operations.end_ns[chosen]
    return WorkTotal(len(starts), int((ends - starts).sum()), length(starts, ends))
