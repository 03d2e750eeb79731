# SPDX-License-Identifier: MIT
"""The page of a telemetry file, or of the files of several ranks of one job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from virnuc_profiler.analysis.summary.performance_figures import Performance
from virnuc_profiler.analysis.summary.rank_scaling import RankScaling
from virnuc_profiler.reports.figures import number
from virnuc_profiler.reports.html.html_table import Cell, Column, Row, bullet_list, html_table
from virnuc_profiler.reports.html.page import Section, render_page
from virnuc_profiler.reports.html.performance_parts import (
    batches_figure,
    figure_sections,
    performance_answer,
    requirements_section,
    run_fine_print,
)
from virnuc_profiler.reports.ranks.rank_scaling_text import straggler_sentences


def render_telemetry_page(
    performance: Performance, records: Sequence[Mapping[str, Any]], source: str, kind: str = "Telemetry"
) -> str:
    """Return the page of a telemetry file.

    Args:
        performance: Figures of the file, or of the files of a job.
        records: Batches of the file.
        source: Path of the file, or what else names it.
        kind: What the page reports on.
    """
    metadata = performance.metadata
    title = " ".join(str(metadata[name]) for name in ("model_name", "precision") if metadata.get(name))
    title += f" on {metadata['device']}" if metadata.get("device") else ""
    return render_page(
        title.strip() or str(metadata.get("run_id") or "A run"), performance_answer(performance),
        performance_body(performance, records), run_fine_print(performance), kind=kind, source=source,
    )  # fmt: skip


def performance_body(performance: Performance, records: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Return the sections of a run or job: its ranks, its batches, its figures and what is required of it.

    Args:
        performance: Figures of the run.
        records: Its batches.
    """
    sections = []
    if performance.scaling is not None:
        sections.append(ranks_section(performance.scaling))
    figure = batches_figure(records) if performance.scaling is None else None
    if figure is not None:
        sections.append(Section("batches", "Batches", [figure]))
    sections.append(figure_sections(performance))
    required = requirements_section(performance)
    return [*sections, *([] if required is None else [required])]


def ranks_section(scaling: RankScaling) -> Section:
    """Return the table of the ranks of a job.

    Args:
        scaling: How the ranks worked together.
    """
    heads: list[Column | str] = [
        "Rank", Column("Tokens", numeric=True), Column("Tokens/s", numeric=True, first="descending"),
        Column("Began late, s", numeric=True), Column("Start-up, s", numeric=True),
        Column("Idle at the end, s", numeric=True), Column("Energy, kJ", numeric=True), "Diagnosis",
    ]  # fmt: skip
    rows = []
    for one in scaling.ranks:
        joules = None if one.joules is None else one.joules / 1e3
        cells = [Cell(one.rank, one.rank)]
        figures = ((one.tokens, 0), (one.tokens_per_sec, 0), (one.late_seconds, 1), (one.start_up_seconds, 1))
        cells += [
            Cell(number(value, digits), value) for value, digits in (*figures, (one.idle_seconds, 1), (joules, 1))
        ]
        cells.append(Cell(one.diagnosis or "", None, tone="warning" if one.straggler else ""))
        rows.append(Row(cells))
    parts = [html_table(heads, rows, caption="The ranks of the job"), bullet_list(straggler_sentences(scaling))]
    return Section("ranks", "Ranks", parts)
