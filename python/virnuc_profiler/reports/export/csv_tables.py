# SPDX-License-Identifier: MIT
"""Tables as CSV (RFC 4180, UTF-8) that a spreadsheet can open without computing anything that a file told it to.

A text that begins as a formula gets an apostrophe in front, as OWASP's rule against CSV injection says. Only texts do:
a number such as -5 stays a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from virnuc_profiler.telemetry.tables.run_tables import Table, TableColumn
from virnuc_profiler.telemetry.values import printable

_BLOCK_ROWS: Final = 1 << 16
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
_QUOTED: Final = frozenset(',"\r\n')


def csv_pieces(table: Table, *, header: bool = True) -> Iterator[str]:
    """Yield a table as CSV, some thousand rows at a time. An empty cell was not measured.

    Args:
        table: The table.
        header: Whether the first line has the names of the columns.
    """
    if header:
        yield ",".join(table) + "\r\n"
    rows = len(next(iter(table.values())).values)
    for start in range(0, rows, _BLOCK_ROWS):
        columns = [_cells(column[start : start + _BLOCK_ROWS]) for column in table.values()]
        yield "\r\n".join(map(",".join, zip(*columns, strict=True))) + "\r\n"


def _cells(column: TableColumn) -> list[str]:
    values: list[Any] = column.values.tolist()
    if column.names is not None:
        names = [safe_cell(name) for name in column.names]
        return [names[value] for value in values]
    cells = (
        list(map(str, values)) if column.values.dtype.kind != "b" else ["true" if one else "false" for one in values]
    )
    if column.missing is not None:
        for place in column.missing.nonzero()[0].tolist():
            cells[place] = ""
    return cells


def safe_cell(text: str) -> str:
    """Return a text of unknown origin as a cell: no formula, no control characters, and quoted where needed.

    Args:
        text: The text.
    """
    shown = printable(text, max(len(text), 1))
    if text.startswith(_FORMULA):
        shown = "'" + shown
    return '"' + shown.replace('"', '""') + '"' if _QUOTED.intersection(shown) else shown
