# SPDX-License-Identifier: MIT
"""``virnuc-profiler report``: render earlier results."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from virnuc_profiler.cli.options.arguments import file_path
from virnuc_profiler.cli.options.result_folder import refuse_result
from virnuc_profiler.cli.terminal import terminal_width
from virnuc_profiler.errors import UsageError
from virnuc_profiler.sweep.plan.steps import STEPS

if TYPE_CHECKING:
    from virnuc_profiler.reports.renderers import Renderer


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
    parser.add_argument(
        "--html", type=file_path, metavar="FILE",
        help="write the report as one HTML file that needs no network, instead of printing it; an earlier report of "
        "that name is replaced, no other file",
    )  # fmt: skip
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report."""
    from virnuc_profiler.cli.pages.report_inputs import files_of_ranks
    from virnuc_profiler.telemetry.files import write_text_atomically

    paths: list[Path] = arguments.path
    ranks = files_of_ranks(paths)
    if arguments.one_gpu is not None and not ranks:
        raise UsageError(
            "--one-gpu is for the files of several ranks, or the folder of an embed job that they have run"
        )
    if arguments.html is not None:
        from virnuc_profiler.cli.pages.html_report import page_of, page_of_ranks, require_replaceable, write_page

        require_replaceable(arguments.html, paths)
        write_page(arguments.html, page_of_ranks(ranks, arguments.one_gpu) if ranks else page_of(paths[0]))
        if arguments.output is None:
            return 0
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
    from virnuc_profiler.cli.pages.report_inputs import performance_of_ranks

    renderer = _renderer(format_name)
    return renderer.telemetry(performance_of_ranks(paths, one_gpu)[0])


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
    from virnuc_profiler.reports.renderers import RENDERERS, TextRenderer

    if format_name == "text":
        return TextRenderer(terminal_width())
    if format_name not in RENDERERS:
        raise UsageError(f"--format {format_name!r} is not one of {', '.join(RENDERERS)}")
    return RENDERERS[format_name]


def _render_folder(folder: Path, renderer: Renderer) -> str:
    from virnuc_profiler.reports.sweeps.sweep_folder import guarded, read_sweep_folder
    from virnuc_profiler.sweep.trial.run_files import run_path

    found = read_sweep_folder(folder, whole=False)
    steps = [guarded(renderer.step, found.documents[name], path) for name, path in found.sources.items()]
    parts = steps or [
        _render_file(run if (run := run_path(path)).is_file() else path, renderer)  # the run has the stages too
        for path in sorted(folder.rglob("telemetry_*.json"))
    ]
    if not parts:
        raise UsageError(f"{folder} holds no results; they are named {', '.join(step.file_name for step in STEPS)}")
    return renderer.join(parts)


def _render_file(path: Path, renderer: Renderer) -> str:
    from virnuc_profiler.analysis.summary.performance_figures import summarize_performance
    from virnuc_profiler.cli.pages.report_inputs import kind_of
    from virnuc_profiler.reports.sweeps.sweep_folder import guarded
    from virnuc_profiler.reports.telemetry_file import load_telemetry
    from virnuc_profiler.sweep.results.document import BEST_KIND, STEP_KIND
    from virnuc_profiler.sweep.results.result_files import read_best, read_step
    from virnuc_profiler.telemetry.long_lists.run_document import RUN_KIND
    from virnuc_profiler.telemetry.run_result import RunResult

    kind = kind_of(path)
    if kind == STEP_KIND:
        return guarded(renderer.step, read_step(path), path)
    if kind == BEST_KIND:
        return guarded(renderer.best, read_best(path), path)
    if kind == RUN_KIND:
        return renderer.run(RunResult.load(path))
    return renderer.telemetry(summarize_performance(load_telemetry(path), path.name))
