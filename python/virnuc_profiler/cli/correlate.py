# SPDX-License-Identifier: MIT
"""``virnuc-profiler correlate``: show the NVTX ranges of an Nsight Systems capture on the GPU, beside a run."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from virnuc_profiler.cli.options.arguments import file_path, whole
from virnuc_profiler.cli.options.result_folder import refuse_result
from virnuc_profiler.cli.terminal import WorkLines, terminal_width
from virnuc_profiler.errors import UsageError

_TOP_OPERATORS: Final = 10
_TOP_KERNELS: Final = 5


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
    parser.add_argument("--json", type=file_path, metavar="FILE", help="also write everything to this file, as JSON")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, and write the JSON."""
    run_file = None if arguments.run_file is None else resolve_run_file(arguments.run_file)
    if arguments.json is not None and arguments.json.resolve() in {
        path.resolve() for path in (arguments.export, run_file) if path is not None
    }:
        raise UsageError(f"--json {arguments.json} is a file that is read; choose another one")
    if arguments.json is not None:
        refuse_result(arguments.json, "--json")
    options = {"domain": arguments.domain, "ranges": arguments.ranges}
    kernels = _TOP_KERNELS if arguments.top is None else arguments.top
    if run_file is not None:
        text, write = correlate_files(run_file, arguments.export, batches=arguments.batches, top=kernels, **options)
    elif arguments.batches:
        raise UsageError("--batches needs a RUN, whose batches these are")
    else:
        from virnuc_profiler.reports.captures.projected_capture import project_capture, render_projected_capture

        say, top = WorkLines(), _TOP_OPERATORS if arguments.top is None else arguments.top
        projected = project_capture(arguments.export, sort_by=arguments.sort, progress=say, **options)
        text = render_projected_capture(projected, terminal_width(), top=top, kernels=kernels, group=arguments.group)
        write = partial(projected.save, progress=say)
    if arguments.json is not None:
        write(arguments.json)
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


def correlate_files(
    run_file: Path,
    export: Path,
    *,
    domain: str | None = None,
    ranges: Sequence[str] | None = None,
    top: int = _TOP_KERNELS,
    batches: bool = False,
) -> tuple[str, Callable[[Path], object]]:
    """Correlate a saved run with its capture, and say meanwhile what is being done.

    Args:
        run_file: The saved run.
        export: SQLite export of the capture.
        domain: NVTX domain of the run's ranges; None to find it.
        ranges: Names or patterns of the ranges to show; None for all.
        top: Number of kernels to show.
        batches: Whether every batch gets a line.

    Returns:
        The text, and a function that writes the JSON document to a file.

    Raises:
        TelemetryFormatError: A file cannot be read.
        UsageError: The two do not belong together, or a domain or name does not occur.
    """
    from virnuc_profiler.reports.captures.correlated_run import correlate_run, render_correlated_run

    correlated = correlate_run(run_file, export, domain=domain, ranges=ranges, progress=WorkLines())
    return render_correlated_run(correlated, terminal_width(), top=top, batches=batches), correlated.save
