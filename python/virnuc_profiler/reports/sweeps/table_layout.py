# SPDX-License-Identifier: MIT
"""A table of results that fits a width.

A table that is too wide gets shorter headings first. Then columns that say the same in every row become a note, names
become codes with a legend, and the columns that matter least leave; a note names these, and the width that shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from virnuc_profiler.reports.columns import aligned, shortened
from virnuc_profiler.sweep.results.result import Result

FAILED: Final = "---"
"""Cell of a figure that a failed configuration does not have."""

_SEPARATOR: Final = len(" | ")
_MIN_CELL: Final = 12
"""Cells are not cut to fewer characters than these."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and what it becomes where the table is too wide.

    Attributes:
        heading: Heading of the column.
        cell: Returns the text of a cell.
        short: Shorter heading; empty for the usual one.
        code: Still shorter heading, explained by `legend`; empty for none.
        legend: What the codes in the heading and the cells stand for; empty for none.
        coded: Returns the text of a cell in codes; None if the cells stay.
        leaves: Place in the order in which columns leave, from 1; 0 for a column that stays.
        summary: Returns a note that replaces the column when it leaves; None to name it among those left out.
        may_be_cut: Whether the middle of long cells may be left out, at last.
    """

    heading: str
    cell: Callable[[Result], str]
    short: str = ""
    code: str = ""
    legend: str = ""
    coded: Callable[[Result], str] | None = None
    leaves: int = 0
    summary: Callable[[Sequence[Result]], str] | None = None
    may_be_cut: bool = False


@dataclass(frozen=True, slots=True)
class _Shown:
    """A column with its cells."""

    column: Column
    heading: str
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        return max(map(len, (self.heading, *self.cells)))


def table(
    title: str, min_width: int, columns: Sequence[Column], results: Iterable[Result], width: int | None = None
) -> list[str]:
    """Return the lines of a table, and the notes that stand for what does not fit.

    Args:
        title: Title of the table.
        min_width: Smallest width of its rules.
        columns: The columns.
        results: One result for each row.
        width: Maximum number of characters of a line; None for no limit.
    """
    rows = list(results)
    whole = [_Shown(one, one.heading, tuple(map(one.cell, rows))) for one in columns]
    shown: Sequence[_Shown] = whole
    notes: list[str] = []
    if width is not None and _width(whole) > width:
        shown, notes = _narrowed(whole, rows, width)
    cells = [[one.heading for one in shown], *zip(*(one.cells for one in shown), strict=True)]
    lines = aligned(cells, len(shown))
    line = rule(max(min_width if width is None else min(min_width, width), *map(len, lines)))
    return [title, line, *lines, line, *notes]


def rule(width: int) -> str:
    """Return a line of this width."""
    return "=" * width


def _width(shown: Sequence[_Shown]) -> int:
    return sum(one.width for one in shown) + _SEPARATOR * (len(shown) - 1)


def _narrowed(whole: Sequence[_Shown], rows: Sequence[Result], width: int) -> tuple[list[_Shown], list[str]]:
    """Return a table that fits, and its notes: as much of the whole one as possible."""
    shown = [replace(one, heading=one.column.short or one.heading.strip()) for one in whole]
    equal: list[str] = []
    notes: list[str] = []
    left_out: list[str] = []
    for leaving in _equal_columns(shown):
        if _width(shown) <= width:
            break
        shown.remove(leaving)
        equal.append(f"{leaving.column.heading.strip()} {_known(leaving)[0]}")
    for leaving in sorted((one for one in shown if one.column.leaves), key=lambda one: one.column.leaves):
        if _width(shown) <= width:
            break
        if leaving.column.summary is None:
            shown = [_coded(one, rows) for one in shown]
            if _width(shown) <= width:
                break
        shown = [one for one in shown if one.column is not leaving.column]
        if leaving.column.summary is None:
            left_out.append(leaving.column.heading.strip())
        else:
            notes.append(leaving.column.summary(rows))
    if _width(shown) > width:
        shown = _cut([_coded(one, rows) for one in shown], width)  # there may have been no column to leave
    if equal:
        notes.insert(0, f"In all rows: {', '.join(equal)}.")
    if left_out:
        notes.append(f"Left out here: {', '.join(left_out)}; {_width(whole)} columns show the whole table.")
    legends = [one.column.legend for one in shown if one.column.legend and _is_coded(one)]
    return shown, [*([f"({', '.join(legends)})"] if legends else []), *filter(None, notes)]


def _equal_columns(shown: Sequence[_Shown]) -> Iterator[_Shown]:
    """Yield the columns that may leave and say the same in every row that has succeeded."""
    order = sorted(shown, key=lambda one: one.column.leaves)
    if len(order[0].cells) < 2:
        return
    for one in order:
        if one.column.leaves and len(set(_known(one))) == 1:
            yield one


def _known(shown: _Shown) -> list[str]:
    return [cell for cell in shown.cells if cell != FAILED]


def _coded(shown: _Shown, rows: Sequence[Result]) -> _Shown:
    column = shown.column
    cells = shown.cells if column.coded is None else tuple(map(column.coded, rows))
    return replace(shown, heading=column.code or shown.heading, cells=cells)


def _is_coded(shown: _Shown) -> bool:
    return shown.column.coded is not None or shown.heading == shown.column.code


def _cut(shown: Sequence[_Shown], width: int) -> list[_Shown]:
    """Return a table whose widest columns are cut until it fits, if cells of a readable length do."""
    cut = list(shown)
    while (over := _width(cut) - width) > 0:
        place = max(range(len(cut)), key=lambda index: cut[index].width * cut[index].column.may_be_cut)
        one = cut[place]
        if one.width <= _MIN_CELL or not one.column.may_be_cut:
            break
        limit = max(_MIN_CELL, one.width - over)
        cells = tuple(shortened(cell, limit) for cell in one.cells)
        cut[place] = replace(one, heading=shortened(one.heading, limit), cells=cells)
    return cut
