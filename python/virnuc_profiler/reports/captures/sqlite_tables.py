# SPDX-License-Identifier: MIT
"""Typed rows from SQLite files of unknown origin, in which tables, columns and types may be unexpected."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED, Column
from virnuc_profiler.telemetry.values import printable

_STEPS_PER_BYTE: Final = 16
"""Limit of SQLite's virtual machine steps per byte of the file. Real exports need less than 2."""
_FREE_STEPS: Final = 1_000_000
_STEPS_AT_ONCE: Final = 10_000

_ROWS_AT_ONCE: Final = 20_000
_REMEMBERED_TEXTS: Final = 4096


class Tables:
    """Tables of an open file, by their names without version (``NVTX_EVENTS`` for ``NVTX_EVENTS_V2``).

    If a table has several versions, the newest one is read.

    Args:
        connection: Connection to the file.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._names: dict[str, str] = {}
        versions: dict[str, int] = {}
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            match = re.fullmatch(r"(.+?)(?:_V([0-9]{1,4}))?", name, re.DOTALL)
            if match is None:
                continue
            base, version = match[1], int(match[2] or 1)
            if version >= versions.get(base, 0):
                versions[base], self._names[base] = version, name

    def __contains__(self, table: str) -> bool:
        return table in self._names

    def rows(
        self, table: str, integers: Sequence[str] = (), optional: Sequence[str] = (), texts: Sequence[str] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """Return the rows of a table. A missing table has no rows, because exporters create tables only as needed.

        Args:
            table: Name of the table, without version.
            integers: Required integer columns.
            optional: Optional integer columns; None where the row or the table lacks a value.
            texts: Optional text columns; None where the row or the table lacks a value.

        Returns:
            Rows with the values of `integers`, `optional` and `texts`, in this order.

        Raises:
            TelemetryFormatError: A required column is missing, a column contains another type, or a column has a
                default value.
        """
        selection = self._selection(table, integers, optional, texts, missing="NULL")
        return iter(()) if selection is None else self._connection.execute(selection)

    def chunks(
        self, table: str, integers: Sequence[str] = (), optional: Sequence[str] = (), texts: Sequence[str] = ()
    ) -> Iterator[tuple[list[Column], list[tuple[str | None, ...]]]]:
        """Return the rows of a table as columns, a limited number of rows at a time.

        Args:
            table: Name of the table, without version.
            integers: Required integer columns.
            optional: Optional integer columns; ``NOT_MEASURED`` where the row or the table lacks a value.
            texts: Optional text columns; None where the row or the table lacks a value.

        Returns:
            Pairs of the columns of `integers` and `optional`, and the columns of `texts`.

        Raises:
            TelemetryFormatError: As in `rows`.
        """
        selection = self._selection(table, integers, optional, texts, missing=str(NOT_MEASURED))
        if selection is None:
            return
        count = len(integers) + len(optional)
        cursor = self._connection.execute(selection)
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            values = list(zip(*rows, strict=True))
            yield [np.array(column, np.int64) for column in values[:count]], values[count:]

    def _selection(
        self, table: str, integers: Sequence[str], optional: Sequence[str], texts: Sequence[str], *, missing: str
    ) -> str | None:
        """Check a table, and return the statement that reads it; None if there is no such table."""
        if table not in self._names:
            return None
        name = _quoted(self._names[table])
        defaults = {row[1]: row[4] for row in self._connection.execute(f"PRAGMA table_info({name})")}
        present = defaults.keys()
        if absent := [column for column in integers if column not in present]:
            raise TelemetryFormatError(f"table {table} has no column {', '.join(absent)}")
        if any(defaults.get(column) is not None for column in (*integers, *optional, *texts)):
            # Rows that predate such a column repeat its default value, so a few bytes could expand to gigabytes.
            raise TelemetryFormatError(f"table {table} has default values, which Nsight Systems does not write")
        wrong = [f"typeof({_quoted(column)}) <> 'integer'" for column in integers]
        wrong += [f"typeof({_quoted(column)}) NOT IN ('integer', 'null')" for column in optional if column in present]
        wrong += [f"typeof({_quoted(column)}) NOT IN ('text', 'null')" for column in texts if column in present]
        if self._connection.execute(f"SELECT 1 FROM {name} WHERE {' OR '.join(wrong) or '0'} LIMIT 1").fetchone():  # noqa: S608 - quoted
            raise TelemetryFormatError(f"table {table} contains values of another type than Nsight Systems writes")
        chosen = [*map(_quoted, integers)]
        chosen += [f"IFNULL({_quoted(column)}, {missing})" if column in present else missing for column in optional]
        chosen += [_quoted(column) if column in present else "NULL" for column in texts]
        return f"SELECT {', '.join(chosen)} FROM {name}"  # noqa: S608 - quoted


def is_sqlite(path: Path) -> bool:
    """Whether a file begins with SQLite's signature.

    Args:
        path: File to check.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


@contextmanager
def open_tables(path: Path) -> Iterator[Tables]:
    """Open a file for reading, even in a folder that is not writable.

    Args:
        path: File to open.

    Yields:
        The tables of the file.

    Raises:
        TelemetryFormatError: The file cannot be read, is not SQLite, or turns out to be damaged while it is read.
    """
    try:
        if path.exists() and not path.is_file():
            raise TelemetryFormatError(f"cannot read {path}: it is not a file")
        readable = is_sqlite(path)
    except OSError as error:
        raise TelemetryFormatError(f"cannot read {path}: {error.strerror or error}") from error
    if not readable:
        raise TelemetryFormatError(
            f"{path} is not an SQLite file; export a report with nsys export --type sqlite REPORT.nsys-rep"
        )
    connection: sqlite3.Connection | None = None
    try:
        connection = _connect(path)
        # Most names occur many times in a row, but some captures have millions of different ones.
        connection.text_factory = lru_cache(_REMEMBERED_TEXTS)(_text)
        _distrust(connection, path.stat().st_size)
        yield Tables(connection)
    except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:  # UnicodeDecodeError: of SQLite's own message
        raise TelemetryFormatError(f"{path} is damaged or incomplete: {printable(str(error))}") from error
    finally:
        if connection is not None:
            connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.OperationalError:  # in write-ahead mode SQLite writes beside the file unless it is immutable
        connection.close()
        return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    return connection


def _distrust(connection: sqlite3.Connection, size: int) -> None:
    """Apply SQLite's advice for files of unknown origin, and limit the work to the size of the file.

    Pages that refer to each other in a circle can make a file of a few kilobytes look like one of terabytes.
    """
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    left = iter(range(_FREE_STEPS // _STEPS_AT_ONCE + _STEPS_PER_BYTE * size // _STEPS_AT_ONCE))
    connection.set_progress_handler(lambda: next(left, None) is None, _STEPS_AT_ONCE)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
