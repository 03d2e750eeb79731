# SPDX-License-Identifier: MIT
"""A capture by Nsight Systems as a trace: ranges and CUDA calls of each thread, and the work of each device.

An arrow leads from each call to the first operation that it launched. With the run that was captured, the run's own
tracks lie above, on the clock of the capture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from virnuc_profiler.analysis.nsys.gpu_capture import KINDS, Codes, Operations
from virnuc_profiler.analysis.nsys.gpu_records import process_of
from virnuc_profiler.analysis.nsys.gpu_work import launches_inside
from virnuc_profiler.analysis.nsys.projection import Projections
from virnuc_profiler.reports.captures.correlated_run import CorrelatedRun
from virnuc_profiler.reports.captures.projected_capture import ProjectedCapture
from virnuc_profiler.reports.export.binary_files import write_pieces
from virnuc_profiler.reports.export.perfetto_trace import perfetto_trace
from virnuc_profiler.reports.export.run_tracks import trace_process
from virnuc_profiler.reports.export.trace_tracks import Slices, SliceTrack, TraceProcess
from virnuc_profiler.telemetry.number_text import counted
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED, Column, Mask

_ID_BITS: Final = 24
_ID_MASK: Final = (1 << _ID_BITS) - 1
_ARROWS: Final = 1 << 50
"""Arrows of a run have smaller numbers."""
_NO_ARROWS: Final = 1 << 51
_TRACKS: Final = {"kernels": ("kernel", "graph"), "copies": ("memcpy",), "fills": ("memset",)}


def write_capture_trace(path: Path, capture: ProjectedCapture | CorrelatedRun) -> str:
    """Write a trace, and return in words what it holds.

    A capture whose ranges were chosen keeps the operations that they launched; any other one keeps all operations.

    Args:
        path: File to write, compressed if its name ends in ``.gz``.
        capture: The capture, alone or with the run that was captured.

    Raises:
        OutputError: The file cannot be written.
    """
    processes: list[TraceProcess] = []
    if isinstance(capture, CorrelatedRun):
        projections, chosen = capture.projections, False
        clock = capture.correlation.clock
        run_name = f"run {capture.run.run_id}"
        later_ns = 0 if clock is None else round(clock.offset_ns)
        processes.append(trace_process(capture.run, run_name, later_ns=later_ns))
    else:
        projections, chosen = capture.ranges.work.projections, capture.chosen
    launches, _ = launches_inside(projections)
    shown = np.ones(len(projections.launches.operations), np.bool_)
    if chosen:
        shown = np.zeros(len(shown), np.bool_)
        shown[projections.launches.operation[launches]] = True
    processes += [*_hosts(projections, shown), *_devices(projections, shown)]
    write_pieces(path, perfetto_trace(processes, wall_offset_ns=capture.capture["utc_epoch_ns"]))
    return f"{counted(len(projections), 'range')} and {counted(int(shown.sum()), 'operation')}"


def _hosts(projections: Projections, shown: Mask) -> Iterator[TraceProcess]:
    """Yield the processes whose threads have ranges or calls."""
    ranges, launches = projections.ranges, projections.launches
    calls = np.flatnonzero(_first_of_calls(projections) & shown[launches.operation])
    threads = np.unique(np.concatenate([ranges.thread, launches.thread[calls]]))
    earliest_ns = min(_earliest(ranges.start_ns), _earliest(launches.call_start_ns))
    for process in np.unique(process_of(threads)).tolist():
        tracks = _thread_tracks(projections, calls, threads[process_of(threads) == process].tolist())
        yield TraceProcess(f"process {process >> _ID_BITS & _ID_MASK}", tracks, earliest_ns)


def _thread_tracks(projections: Projections, calls: Column, threads: Sequence[int]) -> Iterator[SliceTrack]:
    ranges, launches = projections.ranges, projections.launches
    for thread in threads:
        rows = np.flatnonzero(ranges.thread == thread)
        if len(rows):
            names, name = _used(ranges.names, ranges.name[rows])
            payload = ranges.payload[rows]
            arguments = {"payload": payload} if np.all((payload != NOT_MEASURED) & (payload >= 0)) else {}
            slices = Slices(ranges.start_ns[rows], ranges.end_ns[rows], names, name, arguments)
            yield SliceTrack(f"thread {thread & _ID_MASK}", slices, thread=True)
        rows = calls[launches.thread[calls] == thread]
        if len(rows):
            nothing = np.zeros(len(rows), np.int64)
            start_ns, end_ns = launches.call_start_ns[rows], launches.call_end_ns[rows]
            slices = Slices(start_ns, end_ns, ("launch",), nothing, flow=rows + _ARROWS)
            yield SliceTrack(f"CUDA calls of thread {thread & _ID_MASK}", slices)


def _devices(projections: Projections, shown: Mask) -> Iterator[TraceProcess]:
    """Yield the devices that have operations."""
    launches, operations = projections.launches, projections.launches.operations
    first = np.flatnonzero(_first_of_calls(projections))
    flow = np.arange(len(operations)) + _NO_ARROWS  # numbers that no other slice shares, and so no arrow
    flow[launches.operation[first]] = first + _ARROWS
    earliest_ns = _earliest(operations.start_ns)
    for device in np.unique(operations.device[shown]).tolist():
        rows = np.flatnonzero(shown & (operations.device == device))
        yield TraceProcess(f"GPU {device}", _device_tracks(operations.take(rows), flow[rows]), earliest_ns)


def _device_tracks(operations: Operations, flow: Column) -> Iterator[SliceTrack]:
    for name, kinds in _TRACKS.items():
        rows = np.flatnonzero(np.isin(operations.kind, [KINDS.index(kind) for kind in kinds]))
        if len(rows):
            names, code = _used(operations.names, operations.name[rows])
            slices = Slices(operations.start_ns[rows], operations.end_ns[rows], names, code, flow=flow[rows])
            yield SliceTrack(name, slices)


def _earliest(times: Column) -> int:
    return int(times.min(initial=0))


def _first_of_calls(projections: Projections) -> Mask:
    """Return which launches are the first of their call, and of their operation."""
    launches = projections.launches
    columns = np.stack([launches.thread, launches.call_start_ns, launches.call_end_ns])
    first: Mask = np.append(True, (np.diff(columns) != 0).any(axis=0))[: len(launches)]
    once = np.zeros(len(launches), np.bool_)
    once[np.unique(launches.operation, return_index=True)[1]] = True
    return first & once


def _used(names: Sequence[str], codes: Codes) -> tuple[list[str], Column]:
    """Return the names that occur, and the number of each row's name among them."""
    found, code = np.unique(codes, return_inverse=True)
    return [names[one] for one in found.tolist()], code.reshape(-1).astype(np.int64)
