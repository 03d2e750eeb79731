# SPDX-License-Identifier: MIT
"""A comparison as Markdown, for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from virnuc_profiler.analysis.comparison.compared import Compared
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


def render_comparison_markdown(compared: Compared) -> str:
    """Return the comparison as Markdown: the verdict as a heading, tables, and the rest below.

    Args:
        compared: The comparison.
    """
    metrics = [[effect.metric.label, *effect_cells(effect)] for effect in compared.effects]
    parts = [
        f"### {escaped(headline(compared))}",
        f"Reference: {escaped(side_text(compared.reference))}<br>\nCandidate: {escaped(side_text(compared.candidate))}",
        *(f"> **Warning:** {escaped(words(warning, 2000))}" for warning in compared.warnings),
        _table([["Metric", *HEADINGS], *metrics], 1),
    ]
    if table := configuration_table(compared):
        label = compared.configurations[0][1].metric.label
        content = [_table(table, len(table[0]) - len(HEADINGS)), escaped(configuration_reasons(compared))]
        parts.append(_folded(f"{label}, by configuration", "\n\n".join(filter(None, content))))
    parts += map(escaped, sweep_sentences(compared))
    if compared.differences:
        rows = [difference_cells(difference) for difference in compared.differences]
        parts.append(_folded("What differs", _table([["", "Reference", "Candidate"], *rows], 3)))
    parts += map(escaped, [reason_sentence(compared.effects), interval_sentence(compared), *compared.notes])
    return "\n\n".join(filter(None, parts)) + "\n"


def escaped(text: str) -> str:
    """Return a text without Markdown, HTML or mentions: names come from files and are shown as they are.

    Args:
        text: Text of one line.
    """
    marked = re.sub(r"([\\`*_\[\]|~#])", r"\\\1", text)
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")


def _table(rows: Sequence[Sequence[str]], left: int) -> str:
    headings, *others = ([escaped(cell) for cell in row] for row in rows)
    rule = [":--" if place < left or place == len(headings) - 1 else "--:" for place in range(len(headings))]
    return "\n".join(map(_row, [headings, rule, *others]))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{escaped(title)}</summary>\n\n{content}\n\n</details>"
