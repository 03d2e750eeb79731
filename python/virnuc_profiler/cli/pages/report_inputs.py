# SPDX-License-Identifier: MIT
"""What a report is made of: the files of the ranks of a job, and the kind of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virnuc_profiler.errors import UsageError

if TYPE_CHECKING:
    from virnuc_profiler.analysis.summary.performance_figures import Performance


def files_of_ranks(paths: Sequence[Path]) -> Sequence[Path]:
    """Return the telemetry files that are reported on as one job; none if the path is something else.

    Args:
        paths: What is reported on: several files, or one path, which may be the folder of a job.
    """
    if len(paths) > 1:
        return paths
    from virnuc_profiler.embed.job_folder import TELEMETRY_FOLDER

    files = sorted((paths[0] / TELEMETRY_FOLDER).glob("telemetry_embed_rank_*.json"))
    files = [file for file in files if ".earlier-" not in file.name]
    return files if len(files) > 1 else ()


def performance_of_ranks(
    paths: Sequence[Path], one_gpu: Path | None = None
) -> tuple[Performance, Sequence[Mapping[str, Any]]]:
    """Return the figures of a job from the files of its shards, and its batches.

    Args:
        paths: Telemetry files or saved runs, one for each shard.
        one_gpu: Telemetry of the same work in one rank, which the scaling efficiency is measured by; None without it.

    Raises:
        UsageError: A path is no file, or two files hold the same run.
        TelemetryFormatError: A file is damaged, or of another version.
    """
    from virnuc_profiler.analysis.summary.performance_figures import summarize_performance
    from virnuc_profiler.reports.shard_files import aggregate_files

    for path in paths:
        if not path.is_file():
            raise UsageError(f"{path} is not a file; several paths must be the telemetry files of a job's shards")
    try:
        job, scaling = aggregate_files(paths, None if one_gpu is None else _rate_of(one_gpu))
    except ValueError as error:
        raise UsageError(str(error)) from error
    document = {"run_metadata": {}, "summary": job["global_summary"], "per_batch_metrics": job["per_batch_metrics"]}
    source = ", ".join(path.name for path in paths)
    found = summarize_performance(document, source, shards=job["per_shard_summary"], scaling=scaling)
    return found, job["per_batch_metrics"]


def _rate_of(path: Path) -> float:
    """Return the whole-run rate of a telemetry file, tokens per second."""
    from virnuc_profiler.analysis.summary.performance_figures import complete_summary
    from virnuc_profiler.reports.telemetry_file import load_telemetry

    rate = complete_summary(load_telemetry(path)).get("avg_tokens_per_sec")
    if not rate:
        raise UsageError(f"--one-gpu {path} has no rate: give the telemetry of a run that has finished batches")
    return float(rate)


def kind_of(path: Path) -> Any:
    """Return the kind that a file names; the document itself is released before the right reader reads it again.

    Args:
        path: A JSON file.

    Raises:
        TelemetryFormatError: It cannot be read.
    """
    from virnuc_profiler.telemetry.long_lists.run_document import read_kind

    return read_kind(path)
