# SPDX-License-Identifier: MIT
"""``virnuc-profiler correlate``: show the NVTX ranges of an Nsight Systems capture on the GPU, beside a run."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from virnuc_profiler.cli.options.arguments import file_path, whole
from virnuc_profiler.cli.options.result_folder import refuse_result
from virnuc_profiler.cli.terminal import WorkLines, terminal_width
from virnuc_profiler.errors import UsageError

if TYPE_CHECKING:
    from virnuc_profiler.reports.captures.correlated_run import CorrelatedRun
    from virnuc_profiler.reports.captures.projected_capture import ProjectedCapture

_TOP_OPERATORS: Final = 10
_TOP_KERNELS: Final = 5

_Write = Callable[[Path], object]


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "correlate",
        help="show an Nsight Systems capture beside a run",
        description="Project NVTX ranges on the GPU. With a RUN, match its stages with their ranges by domain, name "
        "and payload, and compare them. Without one, list the operators or ranges of any capture with the most GPU "
        "time, or those of --domain and --range.",
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
        help="only ranges of this operator, name or pattern, such as aten::copy_*, with their kernels; may be repeated",
    )
    parser.add_argument("--batches", action="store_true", help="with RUN: also print a line for every batch")
    parser.add_argument(
        "--top", type=whole(0), metavar="N",
        help="number of operators and kernels to show (default: 10 operators, 5 kernels of each)",
    )  # fmt: skip
    parser.add_argument(
        "--no-group", dest="group", action="store_false",
        help="without RUN: a line for every name in the capture, not for every operator of PyTorch's emit_nvtx",
    )  # fmt: skip
    parser.add_argument(
        "--sort", choices=("self", "total"), default="self",
        help="without RUN: sort operators by the GPU time that they launched themselves, or by that with the ranges "
        "inside theirs (default: self)",
    )  # fmt: skip
    parser.add_argument("--html", type=file_path, metavar="FILE", help="also write a page that a browser opens")
    parser.add_argument(
        "--trace", type=file_path, metavar="FILE",
        help="also write a trace for ui.perfetto.dev of the ranges, the work that they launched, and the RUN; named "
        "*.pftrace or *.pftrace.gz",
    )  # fmt: skip
    parser.add_argument("--json", type=file_path, metavar="FILE", help="also write everything to this file, as JSON")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, and write the files that were asked for."""
    run_file = None if arguments.run_file is None else resolve_run_file(arguments.run_file)
    if run_file is None and arguments.batches:
        raise UsageError("--batches needs a RUN, whose batches these are")
    _check_outputs(arguments, run_file)
    found, text, write = _correlated(arguments, run_file) if run_file is not None else _projected(arguments)
    if arguments.json is not None:
        write(arguments.json)
    print(text, end="")
    if arguments.html is not None:
        from virnuc_profiler.cli.pages.html_report import write_page

        write_page(arguments.html, _page(found))
    if arguments.trace is not None:
        from virnuc_profiler.reports.export.capture_trace import write_capture_trace

        print(f"Trace: {arguments.trace}: {write_capture_trace(arguments.trace, found)}; ui.perfetto.dev opens it")
    return 0


def _correlated(arguments: argparse.Namespace, run_file: Path) -> tuple[CorrelatedRun, str, _Write]:
    """Return a run beside its capture, its text, and a function that writes its JSON."""
    found, text = correlate_files(
        run_file,
        arguments.export,
        domain=arguments.domain,
        ranges=arguments.ranges,
        top=_TOP_KERNELS if arguments.top is None else arguments.top,
        batches=arguments.batches,
    )
    return found, text, found.save


def _projected(arguments: argparse.Namespace) -> tuple[ProjectedCapture, str, _Write]:
    """Return a capture with the GPU time of its ranges, its text, and a function that writes its JSON."""
    from virnuc_profiler.reports.captures.projected_capture import project_capture, render_projected_capture

    say, top = WorkLines(), arguments.top
    found = project_capture(
        arguments.export, domain=arguments.domain, ranges=arguments.ranges, sort_by=arguments.sort, progress=say
    )
    text = render_projected_capture(
        found,
        terminal_width(),
        top=_TOP_OPERATORS if top is None else top,
        kernels=_TOP_KERNELS if top is None else top,
        group=arguments.group,
    )
    return found, text, partial(found.save, progress=say)


def _check_outputs(arguments: argparse.Namespace, run_file: Path | None) -> None:
    """Refuse what cannot be written before files are read, which can take a minute.

    Raises:
        UsageError: A file is read too, is a result of another command, or has the name of another kind of file.
        LibraryUnavailable: The page needs a package that is missing.
    """
    read = {path.resolve() for path in (arguments.export, run_file) if path is not None}
    for option in ("json", "html", "trace"):
        path: Path | None = getattr(arguments, option)
        if path is None:
            continue
        if path.resolve() in read:
            raise UsageError(f"--{option} {path} is a file that is read; choose another one")
        refuse_result(path, f"--{option}")
        read.add(path.resolve())
    if arguments.trace is not None and not arguments.trace.name.endswith((".pftrace", ".pftrace.gz")):
        raise UsageError(f"--trace {arguments.trace} must be named *.pftrace, or *.pftrace.gz to compress it")
    if arguments.html is not None:
        from virnuc_profiler.cli.pages.html_report import require_replaceable

        require_replaceable(arguments.html, [])


def _page(found: CorrelatedRun | ProjectedCapture) -> str:
    from virnuc_profiler.reports.captures.correlated_run import CorrelatedRun
    from virnuc_profiler.reports.html.captures.capture_page import render_capture_page
    from virnuc_profiler.reports.html.captures.correlation_page import render_correlation_page

    return render_correlation_page(found) if isinstance(found, CorrelatedRun) else render_capture_page(found)


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


def correlate_files(
    run_file: Path,
    export: Path,
    *,
    domain: str | None = None,
    ranges: Sequence[str] | None = None,
    top: int = _TOP_KERNELS,
    batches: bool = False,
) -> tuple[CorrelatedRun, str]:
    """Correlate a saved run with its capture, and say meanwhile what is being done.

    Args:
        run_file: The saved run.
        export: SQLite export of the capture.
        domain: NVTX domain of the run's ranges; None to find it.
        ranges: Names or patterns of the ranges to show; None for all.
        top: Number of kernels to show.
        batches: Whether every batch gets a line.

    Returns:
        The comparison, and its text.

    Raises:
        TelemetryFormatError: A file cannot be read.
        UsageError: The two do not belong together, or a domain or name does not occur.
    """
    from virnuc_profiler.reports.captures.correlated_run import correlate_run, render_correlated_run

    correlated = correlate_run(run_file, export, domain=domain, ranges=ranges, progress=WorkLines())
    return correlated, render_correlated_run(correlated, terminal_width(), top=top, batches=batches)
