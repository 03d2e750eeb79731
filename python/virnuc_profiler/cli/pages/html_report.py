# SPDX-License-Identifier: MIT
"""Reports as HTML: the page of whatever a path holds, and where it may be written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from virnuc_profiler.cli.options.measurement_request import shown_path
from virnuc_profiler.cli.options.result_folder import refuse_result
from virnuc_profiler.errors import UsageError
from virnuc_profiler.sweep.plan.steps import BEST_CONFIG_FILE, STEPS
from virnuc_profiler.telemetry.number_text import counted, number

if TYPE_CHECKING:
    from virnuc_profiler.embed.job import EmbedJob
    from virnuc_profiler.reports.html.embed_page import EmbedFolder
    from virnuc_profiler.reports.sweeps.sweep_folder import SweepFolder

_LONGEST_MARK = 4096
"""Characters of a file in which the mark of a report stands."""


def require_replaceable(path: Path, sources: Sequence[Path]) -> None:
    """Refuse to write a page over anything but an earlier page of this package.

    Args:
        path: File that the page is to be written to.
        sources: What the page is about.

    Raises:
        UsageError: It is another file, or one that is reported on.
        LibraryUnavailable: Pages need a package that is missing; said before anything is read.
    """
    from virnuc_profiler.reports.html.figures_html import require_bokeh
    from virnuc_profiler.reports.html.page import REPORT_MARK

    require_bokeh()
    if path.resolve() in [source.resolve() for source in sources]:
        raise UsageError(f"--html {path} is the file that is reported on; choose another one")
    refuse_result(path, "--html")
    if not path.exists():
        return
    if not path.is_file():
        raise UsageError(f"--html {path} is not a file; name a file such as {path / 'report.html'}")
    with path.open(encoding="utf-8", errors="replace") as file:
        beginning = file.read(_LONGEST_MARK)
    if beginning and REPORT_MARK not in beginning:
        raise UsageError(f"--html {path} exists and is no report of virnuc_profiler; choose another file, or remove it")


def write_page(path: Path, html: str) -> None:
    """Write a page atomically, and say where it is.

    Args:
        path: File to write.
        html: The page.

    Raises:
        OutputError: The file cannot be written.
    """
    from virnuc_profiler.telemetry.files import write_text_atomically

    write_text_atomically(path, html)
    print(f"Report: {shown_path(path)} ({number(path.stat().st_size / 1e6, 1, ' MB')})")


def page_of(path: Path) -> str:
    """Return the page of a file or a folder.

    Args:
        path: Telemetry file, saved run, result file or journal of a sweep, folder of a sweep, of a run or of a job.

    Raises:
        UsageError: There is nothing, or nothing that can be reported on.
        TelemetryFormatError: A file is damaged, or of another version.
    """
    from virnuc_profiler.sweep.results.journal import JOURNAL_FILE

    if path.is_dir():
        return _page_of_folder(path)
    if path.name == JOURNAL_FILE and path.exists():
        return _page_of_folder(path.parent)
    if not path.exists():
        raise UsageError(f"{path} does not exist; give a telemetry file, a saved run, or the folder of a sweep or job")
    return _page_of_file(path)


def page_of_ranks(paths: Sequence[Path], one_gpu: Path | None) -> str:
    """Return the page of a job from the telemetry of its ranks.

    Args:
        paths: Telemetry files or saved runs, one for each shard.
        one_gpu: Telemetry of the same work in one rank, which the scaling efficiency is measured by; None without it.

    Raises:
        UsageError: A path is no file, or two files hold the same run.
        TelemetryFormatError: A file is damaged, or of another version.
    """
    from virnuc_profiler.cli.pages.report_inputs import performance_of_ranks
    from virnuc_profiler.embed.job import read_job
    from virnuc_profiler.reports.html.embed_page import render_embed_page
    from virnuc_profiler.reports.html.telemetry_page import render_telemetry_page

    folder = paths[0].parent.parent
    if (job := read_job(folder)) is not None:
        return render_embed_page(_embed_folder(folder, job, paths, one_gpu))
    performance, batches = performance_of_ranks(paths, one_gpu)
    return render_telemetry_page(performance, batches, ", ".join(map(str, paths)), "Job")


def _page_of_folder(folder: Path) -> str:
    from virnuc_profiler.embed.job import read_job
    from virnuc_profiler.reports.html.embed_page import render_embed_page
    from virnuc_profiler.reports.sweeps.sweep_folder import read_sweep_folder
    from virnuc_profiler.sweep.results.journal import JOURNAL_FILE

    if (job := read_job(folder)) is not None:
        return render_embed_page(_embed_folder(folder, job, None, None))
    names = (JOURNAL_FILE, BEST_CONFIG_FILE, *(step.file_name for step in STEPS))
    if any((folder / name).exists() for name in names):
        return _sweep_page(read_sweep_folder(folder))
    for pattern in ("run_*.json", "telemetry_*.json"):
        found = [one for one in sorted(folder.rglob(pattern)) if ".earlier-" not in one.name]
        if len(found) == 1:
            return _page_of_file(found[0])
        if found:
            raise UsageError(
                f"{folder} holds {counted(len(found), 'run')}, and a page is about one; give one of them, such as "
                f"{found[0]}, or compare two with virnuc-profiler compare"
            )
    raise UsageError(f"{folder} holds no results; they are named {', '.join(step.file_name for step in STEPS)}")


def _page_of_file(path: Path) -> str:
    from virnuc_profiler.analysis.summary.performance_figures import summarize_performance
    from virnuc_profiler.cli.pages.report_inputs import kind_of
    from virnuc_profiler.reports.html.run_html import render_run_html
    from virnuc_profiler.reports.html.telemetry_page import render_telemetry_page
    from virnuc_profiler.reports.sweeps.sweep_folder import sweep_of_file
    from virnuc_profiler.reports.telemetry_file import load_telemetry
    from virnuc_profiler.sweep.results.document import BEST_KIND, STEP_KIND
    from virnuc_profiler.telemetry.long_lists.run_document import RUN_KIND
    from virnuc_profiler.telemetry.run_result import RunResult

    kind = kind_of(path)
    if kind in (STEP_KIND, BEST_KIND):
        return _sweep_page(sweep_of_file(path, is_best=kind == BEST_KIND))
    if kind == RUN_KIND:
        return render_run_html(RunResult.load(path), str(path))
    document = load_telemetry(path)
    return render_telemetry_page(summarize_performance(document, path.name), document["per_batch_metrics"], str(path))


def _sweep_page(sweep: SweepFolder) -> str:
    """Return the page of a sweep; an error names the file, since readers check only what a sweep uses."""
    from virnuc_profiler.reports.html.sweep_page import render_sweep_page
    from virnuc_profiler.reports.sweeps.sweep_folder import guarded

    return guarded(render_sweep_page, sweep, sweep.path)


def _embed_folder(folder: Path, job: EmbedJob, paths: Sequence[Path] | None, one_gpu: Path | None) -> EmbedFolder:
    """Read the folder of a job: the manifests, and the telemetry of its ranks if there is any."""
    from virnuc_profiler.cli.pages.report_inputs import files_of_ranks, performance_of_ranks
    from virnuc_profiler.embed.job_folder import TELEMETRY_FOLDER
    from virnuc_profiler.embed.manifest.manifest_files import read_manifests
    from virnuc_profiler.reports.html.embed_page import EmbedFolder

    found = paths or files_of_ranks([folder]) or sorted((folder / TELEMETRY_FOLDER).glob("telemetry_embed_rank_*.json"))
    performance, batches = performance_of_ranks(found, one_gpu) if found else (None, ())
    return EmbedFolder(folder, job, list(read_manifests(folder).values()), performance, batches)
