# SPDX-License-Identifier: MIT
"""``virnuc-profiler correlate``: show the NVTX ranges of an Nsight Systems capture on the GPU, beside a run."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virnuc_profiler.cli.options.arguments import file_path, whole
from virnuc_profiler.cli.options.result_folder import refuse_result
from virnuc_profiler.cli.terminal import WorkLines, terminal_width
from virnuc_profiler.errors import UsageError
from virnuc_profiler.telemetry.number_text import counted

if TYPE_CHECKING:
    from virnuc_profiler.analysis.nsys.gpu_capture import GpuCapture, Ranges


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "correlate",
        help="show an Nsight Systems capture beside a run",
        description="Project NVTX ranges on the GPU. With a RUN, match its stages with their ranges by domain, name "
        "and payload, and compare them. Without one, list all ranges of any capture, or those of --domain and --range.",
    )
    parser.add_argument(
        "run_file", nargs="?", type=file_path, metavar="RUN",
        help="a saved run (run_ID.json), its telemetry file, or a folder that holds one run",
    )  # fmt: skip
    parser.add_argument(
        "export",
        type=file_path,
        metavar="NSYS.sqlite",
        help="the capture, made by nsys export --type sqlite REPORT.nsys-rep",
    )
    parser.add_argument(
        "--domain", metavar="NAME",
        help="only ranges of this NVTX domain; the domain without a name is called default (with RUN: virnuc_profiler)",
    )  # fmt: skip
    parser.add_argument(
        "--range",
        action="append",
        dest="ranges",
        metavar="NAME",
        help="only ranges of this name or pattern, such as aten::copy_*; may be repeated",
    )
    parser.add_argument("--batches", action="store_true", help="with RUN: also print a line for every batch")
    parser.add_argument(
        "--top", type=whole(0), default=5, metavar="N", help="number of names and kernels to show (default: 5)"
    )
    parser.add_argument("--json", type=file_path, metavar="FILE", help="also write everything to this file, as JSON")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, and write the JSON."""
    from virnuc_profiler.telemetry.files import write_json_atomically

    run_file = None if arguments.run_file is None else resolve_run_file(arguments.run_file)
    if arguments.json is not None and arguments.json.resolve() in {
        path.resolve() for path in (arguments.export, run_file) if path is not None
    }:
        raise UsageError(f"--json {arguments.json} is a file that is read; choose another one")
    if arguments.json is not None:
        refuse_result(arguments.json, "--json")
    options = {"domain": arguments.domain, "names": arguments.ranges, "top": arguments.top}
    if run_file is not None:
        text, document = correlate_run(run_file, arguments.export, batches=arguments.batches, **options)
    elif arguments.batches:
        raise UsageError("--batches needs a RUN, whose batches these are")
    else:
        text, document = project_ranges(arguments.export, **options)
    if arguments.json is not None:
        write_json_atomically(arguments.json, document())
    print(text, end="")
    return 0


def resolve_run_file(path: Path) -> Path:
    """Find the saved run that a path names: itself, the one beside a telemetry file, or the only one in a folder.

    Raises:
        UsageError: There is none, or more than one.
    """
    if path.is_dir():
        found = sorted(path.rglob("run_*.json"))
        if len(found) != 1:
            raise UsageError(f"{path} holds {len(found)} saved runs (run_*.json); name one of them")
        return found[0]
    if not path.exists():
        raise UsageError(f"{path} does not exist; give a saved run (run_*.json)")
    if path.name.startswith("telemetry_"):
        beside = path.with_name(path.name.replace("telemetry_", "run_", 1))
        if not beside.exists():
            raise UsageError(f"{path} has no saved run {beside.name} beside it")
        return beside
    from virnuc_profiler.reports.captures.sqlite_tables import is_sqlite

    with suppress(OSError):  # the reader will say why it cannot be read
        if path.is_file() and is_sqlite(path):
            raise UsageError(f"{path} is an SQLite file, not JSON: an export of nsys comes after the RUN")
    return path


def correlate_run(
    run_file: Path,
    export: Path,
    *,
    domain: str | None = None,
    names: Sequence[str] | None = None,
    top: int = 5,
    batches: bool = False,
) -> tuple[str, Callable[[], dict[str, Any]]]:
    """Correlate a run with its capture.

    Args:
        run_file: The saved run.
        export: SQLite export of the capture.
        domain: NVTX domain of the run's ranges; None to find it.
        names: Names or patterns of the ranges to show; None for all.
        top: Number of kernels to show.
        batches: Whether every batch gets a line.

    Returns:
        The text, and a function that makes the JSON document.

    Raises:
        TelemetryFormatError: A file cannot be read.
        UsageError: The two do not belong together, or a domain or name does not occur.
    """
    from virnuc_profiler.analysis.nsys.correlation import correlate, mismatch_reason
    from virnuc_profiler.analysis.nsys.gpu_work import divide_work
    from virnuc_profiler.analysis.nsys.projection import project
    from virnuc_profiler.analysis.nsys.range_selection import ranges_named, resolve_run_domain
    from virnuc_profiler.reports.captures.correlation_document import capture_document, run_document
    from virnuc_profiler.reports.captures.correlation_table import render_correlation
    from virnuc_profiler.reports.captures.gpu_work_table import render_gpu_work, stage_warnings, work_warnings
    from virnuc_profiler.reports.captures.nsys_export import read_nsys_export
    from virnuc_profiler.reports.figures import words
    from virnuc_profiler.telemetry.run_result import RunResult

    say, width = WorkLines(), terminal_width()
    recorded = RunResult.load(run_file)
    capture = read_nsys_export(export, say)
    domain = domain or resolve_run_domain(capture)
    ranges = ranges_named(_chosen(capture, export, domain, names), recorded.stage_names)
    say("projecting the ranges onto the GPU")
    projections = project(ranges, capture.calls, capture.operations)
    correlation = correlate(recorded, projections, domain)
    if reason := mismatch_reason(recorded, capture, correlation):
        raise UsageError(f"{run_file} and {export} are not of the same run: {reason}")
    if names is not None:
        chosen = {ranges.names[code] for code in set(ranges.name.tolist())}
        stages = tuple(stage for stage in correlation.stages if stage.name in chosen)
        correlation = replace(correlation, stages=stages, busy=None)  # some stages are not all of the device's work
    work = divide_work(projections)
    warnings = [*work_warnings(work), *stage_warnings(correlation.stages)]
    title = f"Run {words(recorded.run_id)} in Nsight Systems{_version(capture)}"
    notes = [*_notes(capture), *(f"Warning: {warning}" for warning in warnings)]
    table = render_gpu_work(work, width)
    text = render_correlation(correlation, title, notes, table, top=top, width=width, batches=batches)
    described = capture_document(str(export), capture)
    return text, lambda: run_document(recorded, correlation, described, work, warnings)


def project_ranges(
    export: Path, *, domain: str | None = None, names: Sequence[str] | None = None, top: int = 5
) -> tuple[str, Callable[[], dict[str, Any]]]:
    """Project the ranges of any capture, or total its devices if it has no ranges.

    Args:
        export: SQLite export of the capture.
        domain: NVTX domain to show; None for all.
        names: Names or patterns of the ranges to show; None for all.
        top: Number of names and kernels to show.

    Returns:
        The text, and a function that makes the JSON document.

    Raises:
        TelemetryFormatError: The file cannot be read.
        UsageError: A domain or name does not occur.
    """
    from virnuc_profiler.analysis.nsys.gpu_work import divide_work
    from virnuc_profiler.analysis.nsys.projection import project
    from virnuc_profiler.analysis.nsys.totals import total_by_device, total_by_name
    from virnuc_profiler.reports.captures.correlation_document import capture_document, ranges_document
    from virnuc_profiler.reports.captures.gpu_work_table import name_warnings, render_gpu_work, work_warnings
    from virnuc_profiler.reports.captures.nsys_export import read_nsys_export
    from virnuc_profiler.reports.captures.range_table import render_devices, render_ranges

    say, width = WorkLines(), terminal_width()
    capture = read_nsys_export(export, say)
    chosen = domain is not None or names is not None
    ranges = _chosen(capture, export, domain, names) if chosen else capture.ranges
    say("projecting the ranges onto the GPU")
    projections = project(ranges, capture.calls, capture.operations)
    say("adding up the GPU time of each name")
    devices, totals, work = total_by_device(capture.operations), total_by_name(projections), divide_work(projections)
    warnings = [*work_warnings(work), *name_warnings(totals)] if len(totals) and work.all.operations else []
    notes = [*_notes(capture), *(f"Warning: {warning}" for warning in warnings)]
    if len(totals):
        title = f"NVTX ranges on the GPU, Nsight Systems{_version(capture)}"
        table = render_gpu_work(work, width)
        text = render_ranges(totals, title, notes, table, top=top, width=width, kernels=chosen)
    else:
        title = f"GPU totals, Nsight Systems{_version(capture)}; the capture has no NVTX ranges"
        text = render_devices(devices, title, notes, top=top, width=width)
    described = capture_document(str(export), capture)
    return text, lambda: ranges_document(totals, devices, described, work, warnings, say)


def _chosen(capture: GpuCapture, export: Path, domain: str | None, names: Sequence[str] | None) -> Ranges:
    from virnuc_profiler.analysis.nsys.range_selection import select_ranges

    try:
        return select_ranges(capture.ranges, domain, names)
    except UsageError as error:
        raise UsageError(f"{export} {error}") from error


def _version(capture: GpuCapture) -> str:
    from virnuc_profiler.telemetry.values import printable

    return f" {printable(capture.tracer_version, 40)}" if capture.tracer_version else ""


def _notes(capture: GpuCapture) -> list[str]:
    """Return notes on what the capture lacks."""
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
