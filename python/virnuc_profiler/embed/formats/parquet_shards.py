# SPDX-License-Identifier: MIT
"""Shards as Parquet files: a row for each sequence, with its vector as a list of fixed size."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.embed.formats.optional_packages import require_package
from virnuc_profiler.embed.formats.parquet_pages import page_places
from virnuc_profiler.embed.formats.shard_table import METADATA_KEY, IdColumn, ShardTable
from virnuc_profiler.embed.formats.shard_view import PagePlace, VectorPages

ROW_GROUP_BYTES: Final = 16 << 20
"""Size of a row group's vectors: readers decode one at a time."""


class ParquetShards:
    """Writes and reads shards in Parquet.

    Args:
        metadata: What the files say of themselves under the key ``virnuc_profiler`` of their schema.
    """

    suffix: Final = "parquet"

    def __init__(self, metadata: Mapping[str, Any] | None = None) -> None:
        self._arrow = require_package("pyarrow", "Parquet files")
        self._parquet = require_package("pyarrow.parquet", "Parquet files")
        self._metadata = {METADATA_KEY: json.dumps(metadata or {})}

    def write(self, table: ShardTable, file: Any) -> None:
        """Write a shard.

        Args:
            table: Rows of the shard.
            file: Open binary file.

        Raises:
            OSError: The file cannot be written.
        """
        arrow = self._arrow
        vectors = table.vectors
        item = arrow.field("element", arrow.from_numpy_dtype(vectors.dtype), nullable=False)
        vector_type = arrow.list_(item, vectors.shape[1])
        columns = {
            "id": arrow.StringArray.from_buffers(
                len(table.ids), arrow.py_buffer(table.ids.offsets), arrow.py_buffer(table.ids.text)
            ),
            "position": arrow.array(table.positions),
            "length": arrow.array(table.lengths),
            "truncated": arrow.array(table.truncated),
            "vector": arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.reshape(-1)), type=vector_type),
        }
        fields = [arrow.field(name, column.type, nullable=False) for name, column in columns.items()]
        schema = arrow.schema(fields, metadata=self._metadata)
        rows = max(1, ROW_GROUP_BYTES // (vectors.itemsize * vectors.shape[1]))
        self._parquet.write_table(
            arrow.Table.from_arrays(list(columns.values()), schema=schema),
            file,
            row_group_size=rows,
            compression={"id": "zstd", "position": "zstd", "length": "zstd", "truncated": "zstd"},
            use_dictionary=False,
            write_statistics=["position", "length"],
            write_page_index=True,  # also ends each page with a whole vector
            store_schema=True,
        )

    def open(self, path: Path) -> ParquetView:
        """Open a shard's file.

        Args:
            path: The file.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is not a Parquet file of a shard.
        """
        return ParquetView(self._parquet, path)


class ParquetView:
    """A shard's file, of which only what is asked for is read.

    Args:
        parquet: The module ``pyarrow.parquet``.
        path: The file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a Parquet file of a shard.
    """

    def __init__(self, parquet: Any, path: Path) -> None:
        self._file = parquet.ParquetFile(path, memory_map=True)
        self._path = path
        missing = {"id", "position", "length", "truncated", "vector"} - set(self._file.schema_arrow.names)
        if missing:
            raise ValueError(f"it has no column {min(missing)!r}")

    @property
    def positions(self) -> NDArray[np.int64]:
        """(n,) positions of the rows in the FASTA file."""
        return self._column("position")

    @property
    def lengths(self) -> NDArray[np.int32]:
        """(n,) residues of each sequence."""
        return self._column("length")

    @property
    def truncated(self) -> NDArray[np.bool_]:
        """(n,) whether the sequence was cut to the length limit."""
        return self._column("truncated")

    @property
    def ids(self) -> IdColumn:
        """(n,) identifiers of the rows."""
        array = self._file.read(columns=["id"])["id"].combine_chunks()
        array = array.chunk(0) if hasattr(array, "chunk") else array
        _, offsets, text = array.buffers()
        ends = np.frombuffer(offsets, dtype=np.int32)[array.offset : array.offset + len(array) + 1]
        letters = np.empty(0, np.uint8) if text is None else np.frombuffer(text, dtype=np.uint8)
        return IdColumn(letters[ends[0] : ends[-1]], ends - ends[0])

    @cached_property
    def vectors(self) -> VectorPages:
        """The vectors, as views of the mapped file where its pages are as this package writes them."""
        kind = self._file.schema_arrow.field("vector").type
        if self.places is not None:
            dtype = np.dtype(kind.value_type.to_pandas_dtype())
            return VectorPages.mapped(self._path, self.places, kind.list_size, dtype)
        column = self._file.read(columns=["vector"])["vector"]
        return VectorPages([chunk.flatten().to_numpy().reshape(-1, kind.list_size) for chunk in column.chunks])

    @cached_property
    def places(self) -> Sequence[PagePlace] | None:
        """Where the vectors are in the file; None after a rewrite by another program."""
        kind = self._file.schema_arrow.field("vector").type
        itemsize = np.dtype(kind.value_type.to_pandas_dtype()).itemsize
        data = np.memmap(self._path, dtype=np.uint8, mode="r")
        metadata = self._file.metadata
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        columns = [group.column(number) for group in groups for number in range(group.num_columns)]
        chunks = [column for column in columns if column.path_in_schema.startswith("vector.")]
        try:
            return [place for chunk in chunks for place in page_places(data, chunk, kind.list_size, itemsize)]
        except (ValueError, IndexError):
            return None

    def _column(self, name: str) -> NDArray[Any]:
        values: NDArray[Any] = self._file.read(columns=[name])[name].to_numpy()
        return values
