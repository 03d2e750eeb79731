# SPDX-License-Identifier: MIT
"""A comparison as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from virnuc_profiler.analysis.comparison.compared import Compared
from virnuc_profiler.reports.columns import filled, fitted
from virnuc_profiler.reports.comparison.comparison_rows import (
    HEADINGS,
    configuration_reasons,
    configuration_table,
    difference_cells,
    effect_cells,
    headline,
    interval_sentence,
    reason_sentence,
    side_text,
    sweep_sentences,
)
from virnuc_profiler.reports.figures import words


def render_comparison(compared: Compared, columns: int = 80) -> str:
    """Return the verdict, the table of the metrics, what differs, and what to know beside it.

    Args:
        compared: The comparison.
        columns: Width of the text.
    """
    title = filled(headline(compared), columns)
    lines = [*title, "=" * max(map(len, title))]
    lines += filled(f"Reference: {side_text(compared.reference)}", columns, "  ")
    lines += filled(f"Candidate: {side_text(compared.candidate)}", columns, "  ")
    for warning in compared.warnings:
        lines += filled(f"Warning: {words(warning, 2000)}", columns, "  ")
    metrics = [[effect.metric.label, *effect_cells(effect)] for effect in compared.effects]
    lines += ["", *fitted([["Metric", *HEADINGS], *metrics], columns)]
    lines += _lines([reason_sentence(compared.effects)], columns)
    if table := configuration_table(compared):
        lines += ["", compared.configurations[0][1].metric.label + ", by configuration"]
        lines += fitted(table, columns, left=len(table[0]) - len(HEADINGS))
        lines += _lines([configuration_reasons(compared)], columns)
    lines += _paragraphs(sweep_sentences(compared), columns)
    lines += ["", "What differs, from the reference to the candidate"]
    for name, before, after in map(difference_cells, compared.differences):
        lines += filled(f"  {name}: {before} -> {after}", columns, "    ")
    if not compared.differences:
        lines.append("  nothing that is recorded")
    lines += _paragraphs([interval_sentence(compared), *compared.notes], columns)
    return "\n".join(lines) + "\n"


def _paragraphs(sentences: Iterable[str], columns: int) -> list[str]:
    lines = _lines(sentences, columns)
    return ["", *lines] if lines else []


def _lines(sentences: Iterable[str], columns: int) -> list[str]:
    return [line for sentence in sentences if sentence for line in filled(sentence, columns, "  ")]
