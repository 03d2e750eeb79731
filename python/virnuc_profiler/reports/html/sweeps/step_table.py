# SPDX-License-Identifier: MIT
"""The sortable table of a step, with the figures and the words of the text report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

from markupsafe import Markup

from virnuc_profiler.reports.figures import number
from virnuc_profiler.reports.html.html_table import Cell, Column, Row, html_table
from virnuc_profiler.reports.html.sweeps.result_facts import conditions
from virnuc_profiler.reports.html.sweeps.varied_knobs import VariedKnobs, all_numeric, sorting_key
from virnuc_profiler.reports.sweeps.sweep_columns import (
    GPU,
    SAVING,
    TOK,
    advantage_columns,
    gigabytes,
    measured_for,
    packing_column,
    rate_columns,
    reason,
    sequences_per_sec,
    tokens_per_sec,
    unless_failed,
)
from virnuc_profiler.reports.sweeps.sweep_notes import failure_text
from virnuc_profiler.reports.sweeps.table_layout import FAILED
from virnuc_profiler.sweep.plan.objective import ENERGY
from virnuc_profiler.sweep.results.document import Document
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.targets.knobs.configuration import Configuration

_ALONE: Final = ("baseline", "validation")
"""Steps of one configuration, which nothing is compared with."""

_Key = Callable[[Result], float | str | None]
_Text = Callable[[Result], str]


def step_table(document: Document, discarded: Mapping[Configuration, int], caption: str) -> Markup:
    """Return the table of a step, one row for each configuration, those that failed included.

    Args:
        document: Document of the step.
        discarded: Number of measurements that were repeated and do not count, by configuration.
        caption: What the table shows.
    """
    columns = [*_knobs(document), *_figures(document)]
    rows = [_row(document, result, columns, discarded) for result in document.results]
    return html_table([*(head for head, _, _ in columns), Column("Conditions")], rows, caption=caption)


def _knobs(document: Document) -> list[tuple[Column, _Text, _Key]]:
    """Return the columns of the knobs that a step varies, or in which its configurations differ."""
    names = list(document.grid) or VariedKnobs(one.configuration for one in document.results).names
    return [_knob(document, name) for name in names]


def _knob(document: Document, name: str) -> tuple[Column, _Text, _Key]:
    knob = document.knobs[name]
    numeric = all_numeric([one.configuration[name] for one in document.results])
    head = Column(knob.heading, numeric=numeric, help=name)
    return (
        head,
        lambda result: knob.text(result.configuration[name]),
        lambda result: sorting_key(result.configuration[name]),
    )


def _figures(document: Document) -> list[tuple[Column, _Text, _Key]]:
    rate_text, packing_text = rate_columns(document)[0].cell, packing_column(document).cell
    more: Literal["descending"] = "descending"
    energy = document.objective.kind == ENERGY
    joules_head = _number("J/seq", "energy of a sequence")
    found: list[tuple[Column, _Text, _Key]] = [
        (_number("Seq/s", "sequences per second, with half its 95% interval", more), rate_text, sequences_per_sec),
        (_number("Tokens/s", "", more), TOK.cell, tokens_per_sec),
        (_number("Packing", "share of the token budget", more), packing_text, lambda one: one.packing_efficiency),
        (_number("GPU", "GPU utilization", more), GPU.cell, lambda one: one.gpu_util),
        (_number("Memory", "peak memory"), lambda one: gigabytes(one.peak_memory_gb), lambda one: one.peak_memory_gb),
    ]
    if not energy or document.step in _ALONE:
        joules = unless_failed(lambda one: number(one.joules_per_sequence, 2))
        found.append((joules_head, joules, lambda one: one.joules_per_sequence))
    for shown in advantage_columns(document) if document.step not in _ALONE else ():
        if shown.heading == SAVING or not energy:
            head = _number("vs baseline", f"{shown.heading.lower()} over the baseline, with its interval", more)
            found.append((head, shown.cell, lambda one: one.speedup))
        else:
            found.append((joules_head, shown.cell, lambda one: None if one.standing is None else one.standing.cost))
    found.append((_number("Measured"), unless_failed(measured_for), lambda one: one.measured_sec))
    return found


def _number(label: str, help_text: str = "", first: Literal["ascending", "descending"] = "ascending") -> Column:
    return Column(label, numeric=True, help=help_text, first=first)


def _row(
    document: Document,
    result: Result,
    columns: list[tuple[Column, _Text, _Key]],
    discarded: Mapping[Configuration, int],
) -> Row:
    cells = [_cell(text(result), key(result)) for _, text, key in columns]
    best = document.best is not None and document.best.configuration == result.configuration
    conditions_cell = _conditions(result, discarded.get(result.configuration, 0))
    return Row([*cells, conditions_cell], "chosen" if best else "" if result.succeeded else "muted")


def _cell(text: str, key: float | str | None) -> Cell:
    return Cell("-" if text == FAILED else text, key, tone="muted" if text in (FAILED, "n/a") else "")


def _conditions(result: Result, discarded: int) -> Cell:
    if not result.succeeded:
        return Cell(reason(result), "0", failure_text(result), tone="bad")
    notes = [*conditions(result)]
    if discarded:
        notes.append(f"{discarded} discarded and repeated")
    if not notes:
        return Cell("ok", "2", tone="muted")
    return Cell(notes[0], "1", "; ".join(notes[1:]), tone="warning")
