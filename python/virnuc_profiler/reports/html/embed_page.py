# SPDX-License-Identifier: MIT
"""The page of an ``embed`` job: how much of it is done, how fast, and what its ranks did."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.analysis.summary.performance_figures import Performance
from virnuc_profiler.embed.job import EmbedJob
from virnuc_profiler.embed.manifest.shard_record import ShardRecord
from virnuc_profiler.reports.figures import counted, number, share
from virnuc_profiler.reports.html.chart_frame import WHEEL_HINT, add_hover, add_points, new_figure
from virnuc_profiler.reports.html.figures_html import Figure, themed
from virnuc_profiler.reports.html.html_table import Cell, Column, Row, bullet_list, fact_list, html_table
from virnuc_profiler.reports.html.page import Answer, Fact, Section, render_page
from virnuc_profiler.reports.html.performance_parts import performance_answer, run_fine_print
from virnuc_profiler.reports.html.telemetry_page import performance_body
from virnuc_profiler.sweep.plan.estimate import in_words

_GIGABYTE: Final = 1e9


@dataclass(frozen=True)
class EmbedFolder:
    """What the folder of a job holds.

    Attributes:
        path: The folder.
        job: The job.
        shards: Records of the finished shards.
        performance: Figures of its telemetry; None if there is none.
        batches: Batches of its telemetry.
    """

    path: Path
    job: EmbedJob
    shards: Sequence[ShardRecord]
    performance: Performance | None
    batches: Sequence[Mapping[str, Any]]


def render_embed_page(folder: EmbedFolder) -> str:
    """Return the page of a job.

    Args:
        folder: What its folder holds.
    """
    performance = folder.performance
    body = [] if performance is None else performance_body(performance, folder.batches)
    shards = _shards(folder)
    sections = [*([] if shards is None else [shards]), *body]
    fine = [Section("fine-job", "Job", [fact_list(_job(folder.job))]), *_notes(folder)]
    if performance is not None:
        fine += run_fine_print(performance)
    return render_page(
        f"Vectors of {folder.job.model} in {folder.job.precision}", _answer(folder), sections, fine, kind="Embed job",
        source=str(folder.path),
    )  # fmt: skip


def _answer(folder: EmbedFolder) -> Answer:
    done = sum(shard.stop - shard.start for shard in folder.shards)
    complete = len({shard.shard for shard in folder.shards}) >= folder.job.num_shards
    total = folder.job.num_sequences
    if complete:
        headline = f"All shards are finished: {counted(done, 'vector')} in {counted(len(folder.shards), 'shard')}"
    else:
        headline = f"Not finished: {done:,} of {counted(total, 'vector')}, {share(done / total if total else None)}"
    bad = sum(shard.non_finite for shard in folder.shards)
    sentences = [f"{counted(bad, 'vector')} with NaN or infinity."] if bad else []
    facts = []
    if folder.performance is not None:
        run = performance_answer(folder.performance)
        sentences.append(f"{run.headline}.")
        sentences += run.sentences
        facts = [fact for fact in run.facts if fact.label != "Predicted time"]
    written = sum(file.bytes for shard in folder.shards for file in shard.files)
    facts.append(Fact("On disk", _size(written), f"{folder.job.format}, {folder.job.dtype}"))
    command = "" if complete else f"virnuc-profiler embed --resume {shlex.quote(str(folder.path))}"
    return Answer(headline, sentences, facts, command, "warning" if bad or not complete else "good", "Continue")


def _size(written: int) -> str:
    return number(written / _GIGABYTE, 2, " GB") if written >= _GIGABYTE / 10 else number(written / 1e6, 2, " MB")


def _shards(folder: EmbedFolder) -> Section | None:
    if not folder.shards:
        return None
    shards = sorted(folder.shards, key=lambda one: _seconds(one.finished_at))
    first = _seconds(shards[0].finished_at)
    minutes = [(_seconds(one.finished_at) - first) / 60 for one in shards]
    done, total = [], 0
    for one in shards:
        total += one.stop - one.start
        done.append(total)
    parts: list[Any] = []
    if len(shards) > 1:
        plot = new_figure("Minutes since the first shard was finished", "Vectors written", height=280)
        line = plot.step(minutes, done, mode="after", line_width=1.5)
        themed(line.glyph, line_color="series-1")
        data = {"x": minutes, "y": done, "detail": list(map(_detail, shards))}
        points = add_points(plot, data, marker="circle", color="series-1", size=6)
        add_hover(plot, [points])
        took = in_words(60 * minutes[-1])
        parts.append(
            Figure(
                plot, caption="Vectors written, shard by shard", height=280, hint=WHEEL_HINT,
                alternative=f"{counted(len(shards), 'shard')} within {took}; the table below lists them.",
            )
        )  # fmt: skip
    heads: list[Column | str] = [
        Column("Shard", numeric=True), "Rank", Column("Sequences", numeric=True), Column("Tokens", numeric=True),
        Column("Size, MB", numeric=True), Column("NaN or infinity", numeric=True), "Finished",
    ]  # fmt: skip
    rows = [_row(one) for one in sorted(shards, key=lambda each: each.shard)]
    parts.append(html_table(heads, rows, caption="Finished shards"))
    return Section("shards", "Shards", parts)


def _detail(shard: ShardRecord) -> str:
    counts = f"{counted(shard.stop - shard.start, 'sequence')}, {counted(shard.tokens, 'token')}"
    return f"shard {shard.shard} of rank {shard.rank}\n{counts}"


def _row(shard: ShardRecord) -> Row:
    size = sum(file.bytes for file in shard.files)
    return Row(
        [
            Cell(str(shard.shard), shard.shard),
            Cell(shard.rank, shard.rank),
            Cell(number(shard.stop - shard.start), shard.stop - shard.start),
            Cell(number(shard.tokens), shard.tokens),
            Cell(number(size / 1e6, 2), size),
            Cell(number(shard.non_finite), shard.non_finite, tone="bad" if shard.non_finite else ""),
            Cell(shard.finished_at, shard.finished_at),
        ]
    )


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def _job(job: EmbedJob) -> Iterator[tuple[str, str]]:
    yield "Sequences of", job.fasta
    yield "Fingerprint", job.fingerprint
    yield "Sequences", number(job.num_sequences)
    yield "Cut to, residues", number(job.max_residues)
    yield "Model", job.model
    yield "Weights", f"{job.weights} ({job.weights_option})"
    yield "Precision", job.precision
    yield "Vectors", f"{job.hidden_size:,} numbers, {job.dtype}, {job.format}"
    yield "Vectors of residues", "yes" if job.per_residue else "no"
    yield "Shards", number(job.num_shards)
    yield "Configuration", str(job.configuration)


def _notes(folder: EmbedFolder) -> Iterator[Section]:
    notes = [
        "Counts are those of the manifests, which name a shard once its files are complete and synced; the end of the "
        "job itself counts every vector in the files."
    ]
    if folder.performance is None:
        notes.append("There is no telemetry in this folder, so rates, waits and energy are not known.")
    yield Section("fine-notes", "What to mind", [bullet_list(notes)])
