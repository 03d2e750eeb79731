# SPDX-License-Identifier: MIT
"""A run beside its capture by Nsight Systems, as ``virnuc-profiler correlate`` shows it, for Python and for files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from virnuc_profiler.analysis.nsys.correlation import Correlation, correlate, mismatch_reason
from virnuc_profiler.analysis.nsys.gpu_capture import GpuCapture, Ranges
from virnuc_profiler.analysis.nsys.gpu_work import GpuWork, divide_work
from virnuc_profiler.analysis.nsys.projection import Projections, project
from virnuc_profiler.analysis.nsys.range_selection import ranges_named, resolve_run_domain, select_ranges
from virnuc_profiler.errors import UsageError
from virnuc_profiler.reports.captures.correlation_document import capture_document, run_document
from virnuc_profiler.reports.captures.correlation_table import render_correlation
from virnuc_profiler.reports.captures.gpu_work_table import render_gpu_work, stage_warnings, work_warnings
from virnuc_profiler.reports.captures.nsys_export import read_nsys_export
from virnuc_profiler.reports.figures import words
from virnuc_profiler.telemetry.files import write_json_atomically
from virnuc_profiler.telemetry.number_text import counted
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.values import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelatedRun:
    """A run beside its capture.

    Attributes:
        run: The run.
        correlation: Its stages and batches, each with the GPU work that it launched.
        projections: The ranges of its stages with all launches of the capture.
        work: All GPU work of the capture, divided by the ranges of the stages.
        capture: Description of the capture: its path, its origin, its size, and what was left out.
        notes: What the capture lacks.
        warnings: What makes the comparison doubtful.
    """

    run: RunResult
    correlation: Correlation
    projections: Projections
    work: GpuWork
    capture: Mapping[str, Any]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the JSON of ``correlate --json``, atomically, and return the path.

        Args:
            path: File to write. Missing folders are created.

        Raises:
            OutputError: The file cannot be written.
        """
        document = run_document(self.run, self.correlation, dict(self.capture), self.work, self.warnings)
        return write_json_atomically(path, document)


def correlate_run(
    run: RunResult | str | os.PathLike[str],
    export: str | os.PathLike[str],
    *,
    domain: str | None = None,
    ranges: Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> CorrelatedRun:
    """Match the stages of a run with their NVTX ranges in a capture by Nsight Systems, and project them on the GPU.

    Args:
        run: The run, or the path of a saved run.
        export: The capture, made by ``nsys export --type sqlite REPORT.nsys-rep``.
        domain: NVTX domain of the run's ranges; None to find it.
        ranges: Names or patterns of the stages to show; None for all.
        progress: Receives a few words on what is being done, many times; None for nothing.

    Returns:
        The comparison; ``render_correlated_run`` makes the text that ``correlate`` prints.

    Raises:
        TelemetryFormatError: A file cannot be read.
        UsageError: The two do not belong together, or a domain or name does not occur.
    """
    say = progress or (lambda _: None)
    recorded = run if isinstance(run, RunResult) else RunResult.load(run)
    capture = read_nsys_export(Path(export), say)
    domain = domain or resolve_run_domain(capture)
    found = ranges_named(chosen_ranges(capture, Path(export), domain, ranges), recorded.stage_names)
    say("projecting the ranges onto the GPU")
    projections = project(found, capture.calls, capture.operations)
    correlation = correlate(recorded, projections, domain)
    if reason := mismatch_reason(recorded, capture, correlation):
        name = f"run {printable(recorded.run_id)}" if isinstance(run, RunResult) else os.fspath(run)
        raise UsageError(f"{name} and {os.fspath(export)} are not of the same run: {reason}")
    if ranges is not None:
        chosen = {found.names[code] for code in set(found.name.tolist())}
        stages = tuple(stage for stage in correlation.stages if stage.name in chosen)
        correlation = replace(correlation, stages=stages, busy=None)  # some stages are not all of the device's work
    work = divide_work(projections)
    return CorrelatedRun(
        run=recorded,
        correlation=correlation,
        projections=projections,
        work=work,
        capture=capture_document(os.fspath(export), capture),
        notes=tuple(capture_notes(capture)),
        warnings=(*work_warnings(work), *stage_warnings(correlation.stages)),
    )


def render_correlated_run(correlated: CorrelatedRun, columns: int = 80, *, top: int = 5, batches: bool = False) -> str:
    """Render the stages beside the capture: GPU times, agreement of the device intervals, and the longest kernels.

    Args:
        correlated: The run beside its capture.
        columns: Width of the text.
        top: Number of kernels to show for each stage.
        batches: Whether every batch gets a line.
    """
    title = f"Run {words(correlated.run.run_id)} in Nsight Systems{version_text(correlated.capture['nsys_version'])}"
    notes = [*correlated.notes, *(f"Warning: {warning}" for warning in correlated.warnings)]
    table = render_gpu_work(correlated.work, columns)
    return render_correlation(correlated.correlation, title, notes, table, top=top, width=columns, batches=batches)


def chosen_ranges(capture: GpuCapture, export: Path, domain: str | None, names: Sequence[str] | None) -> Ranges:
    """Return the ranges of a domain and of some names; errors name the file.

    Args:
        capture: The capture.
        export: Its file.
        domain: NVTX domain; None for all.
        names: Names or patterns; None for all.

    Raises:
        UsageError: The domain or a name does not occur.
    """
    try:
        return select_ranges(capture.ranges, domain, names)
    except UsageError as error:
        raise UsageError(f"{export} {error}") from error


def version_text(version: str | None) -> str:
    """Return a version of Nsight Systems with a space before it; empty if it is not known.

    Args:
        version: The version, as the capture names it.
    """
    return f" {printable(version, 40)}" if version else ""


def capture_notes(capture: GpuCapture) -> list[str]:
    """Return notes on what a capture lacks.

    Args:
        capture: The capture.
    """
    notes = []
    if capture.crossing_ranges:
        one, many = "range that ends on another thread than it began on", "ranges that end on another thread"
        notes.append(f"Left out: {counted(capture.crossing_ranges, one, f'{many} than they began on')}")
    if capture.unended_ranges:
        notes.append(f"Left out: {counted(capture.unended_ranges, 'range')} that had not ended when the capture did")
    devices = len(set(capture.operations.device.tolist()))
    if devices > 1 and len(capture.ranges):
        notes.append(f"The capture has {devices} devices: busy and span are over all that a range used")
    if not len(capture.operations):
        notes.append("The capture has no GPU operations; capture with nsys profile -t cuda,nvtx")
    return notes
