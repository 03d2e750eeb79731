# SPDX-License-Identifier: MIT
"""Sortable tables, which work without the page's script and with the keyboard, and lists of facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from virnuc_profiler.reports.html.safe_text import markup


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        label: Its heading, with the unit of its numbers.
        numeric: Whether its cells are numbers, aligned to the right.
        help: What the heading means, shown on hover and read to those who do not see it.
        first: Direction of the first sorting: ``ascending``, or ``descending`` where more is better.
    """

    label: str
    numeric: bool = False
    help: str = ""
    first: Literal["ascending", "descending"] = "ascending"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What it shows.
        key: What its column is sorted by: a number or a text; None for what was not measured, which comes last.
        note: Second, smaller line, such as an interval.
        tone: Name of a color of its text: ``good``, ``warning``, ``bad`` or ``muted``; empty for none.
    """

    text: str | Markup
    key: float | str | None = None
    note: str | Markup = ""
    tone: Literal["", "good", "warning", "bad", "muted"] = ""


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        cells: A cell for each column; plain text is its own sorting key.
        tone: Background: ``chosen`` for the recommended, ``muted`` for what failed; empty for none.
    """

    cells: Sequence[str | Markup | Cell]
    tone: Literal["", "chosen", "muted"] = ""


def html_table(
    columns: Sequence[Column | str], rows: Iterable[Row | Sequence[str | Markup | Cell]], *, caption: str = "",
    sortable: bool = True,
) -> Markup:  # fmt: skip
    """Return the markup of a table whose columns can be sorted.

    Args:
        columns: Columns from left to right; a plain text is a heading. The first column names the row.
        rows: Rows from top to bottom.
        caption: What the table shows; it is read to those who do not see the table, and shown above it.
        sortable: Whether a click on a heading sorts the rows.
    """
    heads = [Column(column) if isinstance(column, str) else column for column in columns]
    filled = [row if isinstance(row, Row) else Row(row) for row in rows]
    head = Markup("").join(_head(column, place, sortable) for place, column in enumerate(heads))
    body = Markup("\n").join(_row(row, heads) for row in filled)
    title = Markup("<caption>{}</caption>").format(markup(caption)) if caption else Markup("")
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="data"{sortable}>{title}'
        "<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    ).format(
        label=markup(caption or "Table"), title=title, head=head, body=body,
        sortable=Markup(" data-sortable") if sortable else "",
    )  # fmt: skip


def fact_list(facts: Iterable[tuple[str, str | Markup]]) -> Markup:
    """Return the markup of a list of names and values.

    Args:
        facts: Name and value of each.
    """
    items = (Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(markup(name), markup(value)) for name, value in facts)
    return Markup('<dl class="facts">{}</dl>').format(Markup("\n").join(items))


def bullet_list(sentences: Iterable[str | Markup]) -> Markup:
    """Return the markup of a list of sentences; nothing if there is none.

    Args:
        sentences: The sentences.
    """
    items = [Markup("<li>{}</li>").format(markup(sentence)) for sentence in sentences]
    return Markup('<ul class="notes">{}</ul>').format(Markup("").join(items)) if items else Markup("")


def _head(column: Column, place: int, sortable: bool) -> Markup:
    classes = Markup(' class="num"') if column.numeric else ""
    label = markup(column.label)
    if column.help:
        label = Markup('<span title="{}">{}</span>').format(markup(column.help), label)
    if not sortable:
        return Markup('<th scope="col"{}>{}</th>').format(classes, label)
    return Markup('<th scope="col"{} data-first="{}"><button type="button" data-column="{}">{}</button></th>').format(
        classes, column.first, place, label
    )


def _row(row: Row, columns: Sequence[Column]) -> Markup:
    cells = Markup("").join(_cell(cell, columns[place], place) for place, cell in enumerate(row.cells))
    tone = Markup(' class="{}"').format(row.tone) if row.tone else ""
    return Markup("<tr{}>{}</tr>").format(tone, cells)


def _cell(cell: str | Markup | Cell, column: Column, place: int) -> Markup:
    full = cell if isinstance(cell, Cell) else Cell(cell, None if column.numeric else str(cell))
    tag = Markup('th scope="row"') if place == 0 else Markup("td")
    names = [name for name in ("num" if column.numeric else "", full.tone) if name]
    classes = Markup(' class="{}"').format(" ".join(names)) if names else ""
    key = "" if full.key is None else Markup(' data-key="{}"').format(markup(full.key))
    note = Markup("<small>{}</small>").format(markup(full.note)) if full.note else ""
    return Markup("<{}{}{}>{}{}</{}>").format(tag, classes, key, markup(full.text), note, "th" if place == 0 else "td")
