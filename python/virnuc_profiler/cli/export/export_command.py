# SPDX-License-Identifier: MIT
"""``virnuc-profiler export``: runs for other tools, as a trace and as tables."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from virnuc_profiler.cli.options.arguments import file_path
from virnuc_profiler.cli.options.result_folder import refuse_result
from virnuc_profiler.cli.terminal import say_progress
from virnuc_profiler.errors import UsageError

if TYPE_CHECKING:
    from virnuc_profiler.telemetry.run_result import RunResult

_TRACE_NAMES: Final = (".pftrace", ".perfetto-trace", ".pftrace.gz")
_RANGE: Final = re.compile(r"(\d*):(\d*)")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "export",
        help="write runs as a trace for Perfetto, or as CSV or Parquet tables",
        description="Write saved runs for other tools: a trace that ui.perfetto.dev opens, and tables of batches, "
        "stages and GPU samples. Several runs, such as those of the ranks of a job, share one trace and one table. At "
        "least one of --trace, --csv and --parquet is needed.",
    )
    parser.add_argument(
        "paths", type=file_path, nargs="+", metavar="PATH",
        help="a saved run (run_*.json), the telemetry file beside it, or a folder of the runs of one job",
    )  # fmt: skip
    parser.add_argument("--trace", type=file_path, metavar="FILE", help="trace, named *.pftrace or *.pftrace.gz")
    parser.add_argument("--csv", type=file_path, metavar="DIR", help="folder for batches.csv, stages.csv, samples.csv")
    parser.add_argument("--parquet", type=file_path, metavar="DIR", help="folder for the same tables as Parquet")
    parser.add_argument(
        "--batches", type=_batches, metavar="FIRST:LAST", default=None,
        help="only these batches of each run by their position, such as 1000:2000; without a number, to the end",
    )  # fmt: skip
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(run=run)


def _batches(text: str) -> slice:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of batches such as 1000:2000")
    return slice(*(int(number) if number else None for number in match.groups()))


def run(arguments: argparse.Namespace) -> int:
    """Write what was asked for."""
    _check_outputs(arguments)
    from virnuc_profiler.cli.options.measurement_request import shown_path

    runs = [_read(path, arguments.batches) for path in _run_files(arguments.paths)]
    for path, what in _write(arguments, runs):
        print(f"Wrote {shown_path(path)}: {what}")
    return 0


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse what cannot be written before files are read, which can take a minute."""
    outputs = {"--trace": arguments.trace, "--csv": arguments.csv, "--parquet": arguments.parquet}
    if not any(outputs.values()):
        raise UsageError("nothing to write: give --trace FILE.pftrace, --csv DIR or --parquet DIR")
    if arguments.trace is not None:
        if not arguments.trace.name.endswith(_TRACE_NAMES):
            raise UsageError(f"--trace {arguments.trace} must be named *.pftrace, or *.pftrace.gz to compress it")
        refuse_result(arguments.trace, "--trace")
        if arguments.trace.is_dir():
            raise UsageError(f"--trace {arguments.trace} is a folder; name a file in it")
    for option in ("--csv", "--parquet"):
        if outputs[option] is not None and outputs[option].exists() and not outputs[option].is_dir():
            raise UsageError(f"{option} {outputs[option]} is a file; it must be a folder, which gets three files")
    if arguments.parquet is not None:
        from virnuc_profiler.embed.formats.optional_packages import require_package

        require_package("pyarrow.parquet", "Parquet files", "'virnuc_profiler[export]'")


def _run_files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield _run_beside(path)
            continue
        found = sorted((file for file in path.glob("run_*.json") if ".earlier-" not in file.name), key=_by_number)
        ranks = [file for file in found if re.search(r"rank_?\d+of\d+", file.name)]
        if not found:
            raise UsageError(f"{path} has no saved run; they are named run_*.json")
        if len(found) > 1 and len(ranks) < len(found):
            names = ", ".join(file.name for file in found[:3]) + (", ..." if len(found) > 3 else "")
            raise UsageError(
                f"{path} has {len(found)} runs that are not the ranks of one job; name some of them: {names}"
            )
        yield from found


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts rank 10 after rank 2, so that the position of each rank is its number."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path.name)]


def _run_beside(path: Path) -> Path:
    """Return the saved run that belongs to a telemetry file, which has no times of single stages."""
    if not path.name.startswith("telemetry_"):
        return path
    beside = path.with_name(f"run_{path.name.removeprefix('telemetry_')}")
    if path.is_file() and not beside.is_file():
        raise UsageError(f"{path} has no saved run {beside.name} beside it, which has the times of its stages")
    return beside if beside.is_file() else path


def _read(path: Path, batches: slice | None) -> RunResult:
    from virnuc_profiler.cli.options.measurement_request import shown_path
    from virnuc_profiler.reports.export.run_part import part_of_run
    from virnuc_profiler.telemetry.run_result import RunResult

    if path.exists() and path.stat().st_size > 1 << 26:
        say_progress(f"reading {shown_path(path)} ...")
    found = RunResult.load(path)
    return found if batches is None else part_of_run(found, batches)


def _write(arguments: argparse.Namespace, runs: Sequence[RunResult]) -> Iterator[tuple[Path, str]]:
    """Write all outputs, and yield the path of each with what is in it."""
    from virnuc_profiler.reports.export.exported_files import write_csv_tables, write_parquet_tables, write_trace

    if arguments.trace is not None:
        yield arguments.trace, write_trace(arguments.trace, runs, partial=arguments.batches is not None)
    if arguments.csv is not None:
        yield from write_csv_tables(arguments.csv, runs)
    if arguments.parquet is not None:
        yield from write_parquet_tables(arguments.parquet, runs)
