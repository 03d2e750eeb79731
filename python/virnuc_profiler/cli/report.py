# SPDX-License-Identifier: MIT
"""``virnuc-profiler report``: render earlier results as text."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virnuc_profiler.errors import TelemetryFormatError, UsageError
from virnuc_profiler.sweep.plan.steps import STEPS

if TYPE_CHECKING:
    from virnuc_profiler.sweep.results.sweep_record import SweepRecord

_log = logging.getLogger(__name__)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report",
        help="render telemetry or a sweep's folder as text",
        description="Render a telemetry file, a saved run, one result file of a sweep, or a sweep's whole folder.",
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="a file, or the folder of a sweep")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the text to this file")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report."""
    from virnuc_profiler.telemetry.files import write_text_atomically

    text = render(arguments.path)
    if arguments.output is not None:
        if arguments.output.resolve() == arguments.path.resolve():
            raise UsageError(f"--output {arguments.output} is the file that is reported on; choose another one")
        write_text_atomically(arguments.output, text)
    print(text, end="")
    return 0


def render(path: Path) -> str:
    """Return the text for a file or a folder.

    Raises:
        UsageError: There is nothing, or nothing that can be reported on.
        TelemetryFormatError: A file is damaged, or of another version.
    """
    from virnuc_profiler.sweep.results.journal import JOURNAL_FILE

    if path.is_dir():
        return _render_folder(path)
    if path.name == JOURNAL_FILE:
        raise UsageError(f"{path} is the journal of a sweep; give its folder, {path.parent}")
    if not path.exists():
        raise UsageError(f"{path} does not exist; give a telemetry file or the folder of a sweep")
    return _render_file(path)


def _render_folder(folder: Path) -> str:
    tables = list(_tables(folder))
    if tables:
        return "\n\n".join(tables) + "\n"
    reports = [_render_file(path) for path in sorted(folder.rglob("telemetry_*.json"))]
    if reports:
        return "\n".join(reports)
    raise UsageError(f"{folder} holds no results; they are named {', '.join(step.file_name for step in STEPS)}")


def _tables(folder: Path) -> Iterator[str]:
    """Yield the tables of the result files, or of the journal where a file is missing, as after an interruption."""
    from virnuc_profiler.reports.sweep_tables import render_step
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
            yield _render_result(render_step, read_step(path), path)
        elif records:
            yield from _of_journal(records, step.name, folder / JOURNAL_FILE)


def _that_ran(records: Sequence[SweepRecord]) -> Sequence[SweepRecord]:
    """Return the sweeps up to the last that has measured anything."""
    last = max((place for place, record in enumerate(records) if record.trials), default=len(records) - 1)
    return records[: last + 1]


def _of_journal(records: Sequence[SweepRecord], step: str, journal: Path) -> Iterator[str]:
    """Yield the table of a step, if it was run."""
    from virnuc_profiler.reports.sweep_tables import render_step
    from virnuc_profiler.sweep.results.from_journal import Documents

    def render_records(records: Sequence[SweepRecord]) -> str:
        document = Documents(records).comparable(step)
        return "" if document is None else render_step(document)

    if text := _render_result(render_records, records, journal):
        yield text


def _render_file(path: Path) -> str:
    from virnuc_profiler.reports.diagnosis_text import render_diagnosis
    from virnuc_profiler.reports.performance_text import generate_performance_report
    from virnuc_profiler.reports.stage_table import render_stages
    from virnuc_profiler.reports.sweep_tables import render_best, render_step
    from virnuc_profiler.sweep.results.document import BEST_KIND, STEP_KIND
    from virnuc_profiler.sweep.results.result_files import read_best, read_step
    from virnuc_profiler.telemetry.run_result import RUN_KIND, RunResult

    kind = _kind(path)
    if kind == STEP_KIND:
        return _render_result(render_step, read_step(path), path) + "\n"
    if kind == BEST_KIND:
        return _render_result(render_best, read_best(path), path) + "\n"
    if kind == RUN_KIND:
        run = RunResult.load(path)
        return f"{generate_performance_report(run)}\n{render_stages(run)}\n\n{render_diagnosis(run)}\n"
    return generate_performance_report(path)


def _kind(path: Path) -> Any:
    """Return the kind that a file names; the document itself is released before the right reader reads it again."""
    from virnuc_profiler.telemetry.files import read_json

    document = read_json(path)
    return document.get("kind") if isinstance(document, dict) else None


def _render_result(render: Callable[[Any], str], document: Any, path: Path) -> str:
    """Render a result file or journal; an error names it, since its reader checks only what a sweep uses."""
    from virnuc_profiler.telemetry.values import printable

    try:
        return render(document)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise TelemetryFormatError(
            f"{path} is not a whole result file: {type(error).__name__}, {printable(str(error))}"
        ) from error
