# SPDX-License-Identifier: MIT
"""A capture of any program by Nsight Systems: its NVTX ranges on the GPU, for Python, terminals and files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from virnuc_profiler.analysis.nsys.gpu_work import GpuWork, divide_work
from virnuc_profiler.analysis.nsys.operator_names import name_by_operator
from virnuc_profiler.analysis.nsys.operator_totals import OperatorTotals, SortBy, total_by_operator
from virnuc_profiler.analysis.nsys.projection import project
from virnuc_profiler.analysis.nsys.range_selection import select_positions
from virnuc_profiler.analysis.nsys.self_time import innermost_ranges
from virnuc_profiler.analysis.nsys.totals import DeviceTotal, RangeTotals, total_by_device, total_by_name
from virnuc_profiler.errors import UsageError
from virnuc_profiler.reports.captures.correlated_run import capture_notes, version_text
from virnuc_profiler.reports.captures.correlation_document import capture_document, ranges_document
from virnuc_profiler.reports.captures.gpu_work_table import name_warnings, render_gpu_work, work_warnings
from virnuc_profiler.reports.captures.nsys_export import read_nsys_export
from virnuc_profiler.reports.captures.operator_table import render_operators
from virnuc_profiler.reports.captures.range_table import render_devices, render_ranges
from virnuc_profiler.telemetry.files import write_json_atomically

Progress = Callable[[str], None]
"""Receives a few words on what is being done, many times."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProjectedCapture:
    """A capture with the GPU time of its ranges, or of its devices if it has no ranges.

    Attributes:
        operators: Totals of the ranges shown by operator.
        ranges: Totals of the ranges shown by name.
        devices: Totals by device.
        work: All GPU work of the capture, divided by the ranges shown.
        chosen: Whether the ranges were chosen by domain or name.
        capture: Description of the capture: its path, its origin, its size, and what was left out.
        notes: What the capture lacks.
        warnings: What makes the totals doubtful.
    """

    operators: OperatorTotals
    ranges: RangeTotals
    devices: Sequence[DeviceTotal]
    work: GpuWork
    chosen: bool
    capture: Mapping[str, Any]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def save(self, path: str | os.PathLike[str], progress: Progress = lambda _: None) -> Path:
        """Write the JSON of ``correlate --json``, atomically, and return the path.

        Args:
            path: File to write. Missing folders are created.
            progress: Receives a few words on what is being written.

        Raises:
            OutputError: The file cannot be written.
        """
        document = ranges_document(
            self.ranges, self.operators, self.devices, dict(self.capture), self.work, self.warnings, progress
        )
        return write_json_atomically(path, document)


def project_capture(
    export: str | os.PathLike[str],
    *,
    domain: str | None = None,
    ranges: Sequence[str] | None = None,
    sort_by: SortBy = "self",
    progress: Progress = lambda _: None,
) -> ProjectedCapture:
    """Project the NVTX ranges of a capture onto the GPU, and add up their time by operator and by name.

    Args:
        export: The capture, made by ``nsys export --type sqlite REPORT.nsys-rep``.
        domain: NVTX domain to show; None for all.
        ranges: Names of operators or ranges to show, or patterns; None for all.
        sort_by: Time that operators are sorted by.
        progress: Receives a few words on what is being done.

    Raises:
        TelemetryFormatError: The file cannot be read.
        UsageError: The domain or a name does not occur.
    """
    capture = read_nsys_export(export, progress)
    progress("projecting the ranges onto the GPU")
    projections = project(capture.ranges, capture.calls, capture.operations)
    by_operator = replace(projections, ranges=name_by_operator(capture.ranges))
    chosen = domain is not None or ranges is not None
    shown = np.arange(len(projections))
    if chosen:
        try:
            shown = select_positions(capture.ranges, domain, ranges, by_operator.ranges)
        except UsageError as error:
            raise UsageError(f"{os.fspath(export)} {error}") from error
    progress("adding up the GPU time of each operator")
    operators = total_by_operator(by_operator, innermost_ranges(projections), shown, sort_by)
    projections = projections.take(shown)
    totals, work = total_by_name(projections), divide_work(projections)
    return ProjectedCapture(
        operators=operators,
        ranges=totals,
        devices=total_by_device(capture.operations),
        work=work,
        chosen=chosen,
        capture=capture_document(os.fspath(export), capture),
        notes=tuple(capture_notes(capture)),
        warnings=(*work_warnings(work), *name_warnings(operators)) if len(totals) and work.all.operations else (),
    )


def render_projected_capture(
    projected: ProjectedCapture, columns: int = 80, *, top: int = 10, kernels: int = 5, group: bool = True
) -> str:
    """Render the operators, or the ranges, with the most GPU time; the devices, if there are no ranges.

    Args:
        projected: The capture.
        columns: Width of the text.
        top: Number of operators or names to show.
        kernels: Number of kernels to show for each of them if they were chosen, and for each device.
        group: Whether to group ranges by operator.
    """
    version = version_text(projected.capture["nsys_version"])
    notes = [*projected.notes, *(f"Warning: {warning}" for warning in projected.warnings)]
    if not len(projected.ranges):
        title = f"GPU totals, Nsight Systems{version}; the capture has no NVTX ranges"
        return render_devices(projected.devices, title, notes, top=kernels, width=columns)
    work, kernels = render_gpu_work(projected.work, columns), kernels if projected.chosen else 0
    if group:
        title = f"GPU time by operator, Nsight Systems{version}"
        return render_operators(projected.operators, title, notes, work, top=top, width=columns, kernels=kernels)
    title = f"NVTX ranges on the GPU, Nsight Systems{version}"
    return render_ranges(projected.ranges, title, notes, work, top=top, width=columns, kernels=kernels)
