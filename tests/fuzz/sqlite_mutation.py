# SPDX-License-Identifier: MIT
"""Mutate SQLite files: odd values, other columns and tables, and pages that refer to other pages."""

import random
import sqlite3
import tempfile
from pathlib import Path

from tests.fuzz.engine import mutate_bytes

ODD = (
    None, 0, 1, -1, 59, 60, 75, 2**31, 2**53, 2**63 - 1, -(2**63), 1.5, 1e300, "", "x", "\x1b[31m", "\u202e", "a\nb",
    "x\0y", b"", b"\0\xff", "long " * 300,
)  # fmt: skip


def mutate_sqlite(data: bytes, source: random.Random) -> bytes:
    """Apply one change to a database, by SQL or to its pages."""
    if source.random() < 0.4:
        return _mutate_pages(data, source)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.sqlite"
        path.write_bytes(data)
        connection = sqlite3.connect(path)
        connection.set_progress_handler(lambda: True, 1_000_000)  # some seeds make SQLite read endlessly
        try:
            _change(connection, source)
            connection.commit()
        except (sqlite3.Error, OverflowError, UnicodeDecodeError):
            return mutate_bytes(data, source)
        finally:
            connection.close()
        return path.read_bytes()


def _change(connection: sqlite3.Connection, source: random.Random) -> None:
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    table = _quoted(source.choice(tables or ["x"]))
    columns = [_quoted(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")]
    column, value = source.choice(columns or ['"x"']), source.choice(ODD)
    rows = f"WHERE rowid % {source.randint(1, 3)} = 0"
    kind = source.randrange(8)
    if kind <= 3:
        connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ? {rows}", (value,))
    elif kind == 4:
        connection.execute(f"DELETE FROM {table} {rows}")
    elif kind == 5:
        connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    elif kind == 6:
        connection.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO {_quoted(source.choice(['start', 'x']))}")
    else:
        added, default = source.choice(["text", "start", "value"]), source.choice(["7", "'text'", "NULL"])
        connection.execute(f"ALTER TABLE {table} ADD COLUMN {added} DEFAULT {default}")


def _mutate_pages(data: bytes, source: random.Random) -> bytes:
    """Change bytes near the start of a page, where b-trees keep their counts and pointers."""
    if len(data) < 512 or source.random() < 0.3:
        return mutate_bytes(data, source)
    place = 512 * source.randrange(len(data) // 512) + source.randrange(64)
    changed = bytearray(data)
    if place < len(changed):
        changed[place] = source.choice([0, 1, 2, 5, 10, 13, 255, source.randrange(256)])
    return bytes(changed)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
