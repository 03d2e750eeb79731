# SPDX-License-Identifier: MIT
"""What ``embed`` prints when shards are written: how it went, and whether every sequence is there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from virnuc_profiler.cli.heartbeat import Heartbeat
from virnuc_profiler.cli.options.measurement_request import shown_path
from virnuc_profiler.cli.terminal import say, terminal_width
from virnuc_profiler.telemetry.number_text import counted

if TYPE_CHECKING:
    from pathlib import Path

    from virnuc_profiler.embed.job import EmbedJob
    from virnuc_profiler.embed.rank_job import JobRank
    from virnuc_profiler.embed.rank_worker import RankOutcome
    from virnuc_profiler.reports.projection_text import Projected

_MAX_WAITING: Final = 0.01
"""Share of a run that it may wait for the disk before that is mentioned."""


def print_outcome(outcome: RankOutcome, projected: Projected | None, *, whole: bool = True) -> None:
    """Print how it went: the page on the run, the rates, and the prediction against the truth.

    Args:
        outcome: What was done.
        projected: Time that was predicted; None if none was.
        whole: Whether to print the page on the run.
    """
    from virnuc_profiler.reports.run_page import render_page
    from virnuc_profiler.sweep.plan.estimate import in_words
    from virnuc_profiler.sweep.trial.run_files import run_path
    from virnuc_profiler.telemetry.number_text import number
    from virnuc_profiler.telemetry.run_result import RunResult

    if outcome.telemetry and whole:
        run = run_path(outcome.telemetry[0])
        print(render_page(RunResult.load(run, max_bytes=sys.maxsize), terminal_width()))
    rates = ", ".join(
        f"{number(count / outcome.elapsed_s)} {name}/s"
        for count, name in ((outcome.sequences, "sequences"), (outcome.tokens, "tokens"))
    )
    print(
        f"Written: {counted(outcome.sequences, 'vector')} in {counted(outcome.shards, 'shard')}, "
        f"{in_words(outcome.elapsed_s)}, {rates} over the whole run, writing included"
    )
    waited = outcome.waited_s
    if waited >= _MAX_WAITING * outcome.elapsed_s:
        print(
            f"Writing: batches waited {in_words(waited)} of {in_words(outcome.elapsed_s)} for it: the disk is slower "
            "than the model; a faster --output-dir or --dtype fp16 helps"
        )
    if projected is not None:
        low, _, high = projected_seconds(projected)
        where = "inside" if low <= outcome.elapsed_s <= high else "outside"
        print(f"Predicted: {projected_text(projected)}; it took {in_words(outcome.elapsed_s)}, {where} the interval")
    for path in outcome.telemetry:
        print(f"Telemetry: {shown_path(path)}")
        print(f"Run: {shown_path(run_path(path))}")


def check_job(member: JobRank) -> int:
    """Check a job whose shards are all finished, unless another process does so; return 1 if it is not complete.

    Args:
        member: This process as a rank of the job.
    """
    from virnuc_profiler.embed.job import read_job

    job = read_job(member.folder)
    assert job is not None, "a job that has run has a file"
    if not member.checks():
        was = member.was_checked()
        print("Checked: by another process of this job" if was else "Check: another process counts the vectors now")
        return 0
    code = check_and_index(member.folder, job)
    if not code:
        member.note_check()
        member.close(complete=True)
    return code


def check_and_index(folder: Path, job: EmbedJob) -> int:
    """Count every sequence in the files and build the indexes; return the exit code.

    Args:
        folder: Folder of the job.
        job: The job, all of whose shards are finished.
    """
    from virnuc_profiler.embed.job_index import build_indexes
    from virnuc_profiler.embed.manifest.manifest_files import read_manifests
    from virnuc_profiler.embed.verify import verify_job

    with Heartbeat("counting the vectors in the files"):
        found = verify_job(folder, job)
    if not found.complete:
        say(
            f"virnuc-profiler: error: {shown_path(folder)}: {shown_path(found.sentence())}; the same command "
            "again, without --trust-sizes, writes what is missing or not right"
        )
        return 1
    with Heartbeat("indexing the identifiers"):
        build_indexes(folder, job)
    print(f"Checked: {found.sentence()}")
    if bad := sum(record.non_finite for record in read_manifests(folder).values()):
        say(f"virnuc-profiler: warning: {counted(bad, 'vector')} hold NaN or infinity")
    print(f"Vectors: {shown_path(folder)} (in Python: virnuc_profiler.open_embeddings)")
    return 0


def projected_seconds(projected: Projected) -> tuple[float, float, float]:
    """Return the predicted seconds, between the ends of their interval."""
    time = projected.time
    return 3600 * time.low_hours, 3600 * time.hours, 3600 * time.high_hours


def projected_text(projected: Projected) -> str:
    """Return the predicted time with its interval in words."""
    from virnuc_profiler.sweep.plan.estimate import in_words

    low, middle, high = map(in_words, projected_seconds(projected))
    return f"about {middle} ({low} to {high})"
