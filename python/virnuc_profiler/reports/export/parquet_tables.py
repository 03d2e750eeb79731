# SPDX-License-Identifier: MIT
"""Tables as Parquet files, which keep types, missing values and the facts of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.embed.formats.optional_packages import require_package
from virnuc_profiler.telemetry.files import opened_atomically
from virnuc_profiler.telemetry.tables.run_tables import Table, TableColumn
from virnuc_profiler.telemetry.values import printable

if TYPE_CHECKING:
    import pyarrow as pa

_GROUP_ROWS: Final = 1 << 20


def write_parquet(path: Path, tables: Sequence[Table], facts: Mapping[str, str]) -> Path:
    """Write tables of the same columns below each other into one Parquet file, atomically.

    Args:
        path: File to write. Missing folders are created.
        tables: At least one table.
        facts: Facts about the runs, which become metadata of the file's schema.

    Returns:
        The path.

    Raises:
        LibraryUnavailable: pyarrow cannot be imported; the message says how to install it.
        OutputError: The file cannot be written.
    """
    pyarrow = require_package("pyarrow", "Parquet files", "'virnuc_profiler[export]'")
    parquet = require_package("pyarrow.parquet", "Parquet files", "'virnuc_profiler[export]'")
    metadata = {key.encode(): _utf8(value) for key, value in facts.items()}
    schema = pyarrow.schema(
        [(name, _type(column, pyarrow)) for name, column in tables[0].items()], metadata=metadata or None
    )
    with opened_atomically(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for table in tables:
            rows = len(next(iter(table.values())).values)
            for start in range(0, rows, _GROUP_ROWS):
                part = {name: column[start : start + _GROUP_ROWS] for name, column in table.items()}
                arrays = [_array(column, pyarrow) for column in part.values()]
                writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
    return path


def _utf8(text: str) -> bytes:
    return printable(text, max(len(text), 1)).encode("utf-8", "backslashreplace")


def _type(column: TableColumn, pyarrow: Any) -> pa.DataType:
    if column.names is not None:
        return pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    return {"b": pyarrow.bool_(), "i": pyarrow.int64(), "f": pyarrow.float64()}[column.values.dtype.kind]


def _array(column: TableColumn, pyarrow: Any) -> pa.Array:
    if column.names is not None:
        names = pyarrow.array([_utf8(name).decode() for name in column.names], pyarrow.string())
        return pyarrow.DictionaryArray.from_arrays(pyarrow.array(column.values.astype("int32")), names)
    return pyarrow.array(column.values, _type(column, pyarrow), mask=column.missing)
