# SPDX-License-Identifier: MIT
"""``virnuc-profiler report``: render earlier results."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virnuc_profiler.cli.options.arguments import file_path
from virnuc_profiler.cli.options.result_folder import refuse_result
from virnuc_profiler.errors import TelemetryFormatError, UsageError
from virnuc_profiler.sweep.plan.steps import STEPS

if TYPE_CHECKING:
    from virnuc_profiler.reports.renderers import Renderer
    from virnuc_profiler.sweep.results.sweep_record import SweepRecord

_log = logging.getLogger(__name__)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report",
        help="render telemetry, a saved run, or a sweep's folder",
        description="Render a telemetry file, a saved run, one result file of a sweep, or a sweep's whole folder. "
        "Several telemetry files or saved runs are the shards of one job, and give one report on it.",
    )
    parser.add_argument(
        "path",
        type=file_path,
        nargs="+",
        metavar="PATH",
        help="a file, the folder of a sweep, or the files of all shards",
    )
    parser.add_argument("--format", default="text", metavar="NAME", help="format of the report (default: text)")
    parser.add_argument(
        "--one-gpu", type=file_path, metavar="FILE",
        help="telemetry of the same work on one GPU, which the scaling efficiency of several ranks is measured by",
    )  # fmt: skip
    parser.add_argument("--output", type=file_path, metavar="FILE", help="also write the report to this file")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report."""
    from virnuc_profiler.telemetry.files import write_text_atomically

    paths: list[Path] = arguments.path
    ranks = _files_of_ranks(paths)
    if arguments.one_gpu is not None and not ranks:
        raise UsageError(
            "--one-gpu is for the files of several ranks, or the folder of an embed job that they have run"
        )
    if ranks:
        text = render_job(ranks, arguments.format, one_gpu=arguments.one_gpu)
    else:
        text = render(paths[0], arguments.format)
    if arguments.output is not None:
        if arguments.output.resolve() in [path.resolve() for path in paths]:
            raise UsageError(f"--output {arguments.output} is the file that is reported on; choose another one")
        refuse_result(arguments.output, "--output")
        write_text_atomically(arguments.output, text)
    print(text, end="")
    return 0


def _files_of_ranks(paths: Sequence[Path]) -> Sequence[Path]:
    """Return the telemetry files that are reported on as one job; none if the path is something else."""
    if len(paths) > 1:
        return paths
    from virnuc_profiler.embed.job_folder import TELEMETRY_FOLDER

    files = sorted((paths[0] / TELEMETRY_FOLDER).glob("telemetry_embed_rank_*.json"))
    files = [file for file in files if ".earlier-" not in file.name]
    return files if len(files) > 1 else ()


def render_job(paths: Sequence[Path], format_name: str = "text", *, one_gpu: Path | None = None) -> str:
    """Return the report on a job from the files of its shards.

    Args:
        paths: Telemetry files or saved runs, one for each shard.
        format_name: Name of the format, one of ``reports.renderers.RENDERERS``.
        one_gpu: Telemetry of the same work in one rank, which the scaling efficiency is measured by; None without it.

    Raises:
        UsageError: A path is no file, two files hold the same run, or there is no such format.
        TelemetryFormatError: A file is damaged, or of another version.
    """
    from virnuc_profiler.analysis.summary.performance_figures import summarize_performance
    from virnuc_profiler.reports.shard_files import aggregate_files

    renderer = _renderer(format_name)
    for path in paths:
        if not path.is_file():
            raise UsageError(f"{path} is not a file; several paths must be the telemetry files of a job's shards")
    try:
        job, scaling = aggregate_files(paths, None if one_gpu is None else _rate_of(one_gpu))
    except ValueError as error:
        raise UsageError(str(error)) from error
    document = {"run_metadata": {}, "summary": job["global_summary"], "per_batch_metrics": job["per_batch_metrics"]}
    source = ", ".join(path.name for path in paths)
    return renderer.telemetry(summarize_performance(document, source, shards=job["per_shard_summary"], scaling=scaling))


def _rate_of(path: Path) -> float:
    """Return the whole-run rate of a telemetry file, tokens per second."""
    from virnuc_profiler.analysis.summary.performance_figures import complete_summary
    from virnuc_profiler.reports.telemetry_file import load_telemetry

    rate = complete_summary(load_telemetry(path)).get("avg_tokens_per_sec")
    if not rate:
        raise UsageError(f"--one-gpu {path} has no rate: give the telemetry of a run that has finished batches")
    return float(rate)


def render(path: Path, format_name: str = "text") -> str:
    """Return the report on a file or a folder.

    Args:
        path: Telemetry file, saved run, result file of a sweep, or folder of a sweep.
        format_name: Name of the format, one of ``reports.renderers.RENDERERS``.

    Raises:
        UsageError: There is nothing, nothing that can be reported on, or no such format.
        TelemetryFormatError: A file is damaged, or of another version.
    """
    from virnuc_profiler.sweep.results.journal import JOURNAL_FILE

    renderer = _renderer(format_name)
    if path.is_dir():
        return _render_folder(path, renderer)
    if path.name == JOURNAL_FILE:
        raise UsageError(f"{path} is the journal of a sweep; give its folder, {path.parent}")
    if not path.exists():
        raise UsageError(f"{path} does not exist; give a telemetry file or the folder of a sweep")
    return _render_file(path, renderer)


def _renderer(format_name: str) -> Renderer:
    from virnuc_profiler.reports.renderers import RENDERERS

    if format_name not in RENDERERS:
        raise UsageError(f"--format {format_name!r} is not one of {', '.join(RENDERERS)}")
    return RENDERERS[format_name]


def _render_folder(folder: Path, renderer: Renderer) -> str:
    steps = list(_steps(folder, renderer))
    parts = steps or [_render_file(path, renderer) for path in sorted(folder.rglob("telemetry_*.json"))]
    if not parts:
        raise UsageError(f"{folder} holds no results; they are named {', '.join(step.file_name for step in STEPS)}")
    return renderer.join(parts)


def _steps(folder: Path, renderer: Renderer) -> Iterator[str]:
    """Yield the steps from the result files, or from the journal where a file is missing, as after an interruption."""
    from virnuc_profiler.sweep.results.journal import JOURNAL_FILE, read_journal
    from virnuc_profiler.sweep.results.result_files import read_step

    there = [step for step in STEPS if (folder / step.file_name).exists()]
    records: Sequence[SweepRecord] = []
    if len(there) < len(STEPS):
        try:
            records = _that_ran(read_journal(folder))
        except TelemetryFormatError as error:
            if not there:
                raise
            _log.warning("%s", error)
    for step in STEPS:
        path = folder / step.file_name
        if step in there:
            yield _render_result(renderer.step, read_step(path), path)
        elif records:
            yield from _from_journal(records, step.name, folder / JOURNAL_FILE, renderer)


def _that_ran(records: Sequence[SweepRecord]) -> Sequence[SweepRecord]:
    """Return the sweeps up to the last that has measured anything."""
    last = max((place for place, record in enumerate(records) if record.trials), default=len(records) - 1)
    return records[: last + 1]


def _from_journal(records: Sequence[SweepRecord], step: str, journal: Path, renderer: Renderer) -> Iterator[str]:
    """Yield a step, if it was run."""
    from virnuc_profiler.sweep.results.from_journal import Documents

    def render_records(records: Sequence[SweepRecord]) -> str:
        document = Documents(records).comparable(step)
        return "" if document is None else renderer.step(document)

    if text := _render_result(render_records, records, journal):
        yield text


def _render_file(path: Path, renderer: Renderer) -> str:
    from virnuc_profiler.analysis.summary.performance_figures import summarize_performance
    from virnuc_profiler.reports.telemetry_file import load_telemetry
    from virnuc_profiler.sweep.results.document import BEST_KIND, STEP_KIND
    from virnuc_profiler.sweep.results.result_files import read_best, read_step
    from virnuc_profiler.telemetry.long_lists.run_document import RUN_KIND
    from virnuc_profiler.telemetry.run_result import RunResult

    kind = _kind(path)
    if kind == STEP_KIND:
        return _render_result(renderer.step, read_step(path), path)
    if kind == BEST_KIND:
        return _render_result(renderer.best, read_best(path), path)
    if kind == RUN_KIND:
        return renderer.run(RunResult.load(path))
    return renderer.telemetry(summarize_performance(load_telemetry(path), path.name))


def _kind(path: Path) -> Any:
    """Return the kind that a file names; the document itself is released before the right reader reads it again."""
    from virnuc_profiler.telemetry.long_lists.run_document import read_kind

    return read_kind(path)


def _render_result(render: Callable[[Any], str], document: Any, path: Path) -> str:
    """Render a result file or journal; an error names it, since its reader checks only what a sweep uses."""
    from virnuc_profiler.telemetry.values import printable

    try:
        return render(document)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise TelemetryFormatError(
            f"{path} is not a whole result file: {type(error).__name__}, {printable(str(error))}"
        ) from error
