# SPDX-License-Identifier: MIT
"""Shards as Parquet files: a row for each sequence, with its vector as a list of fixed size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.embed.formats.optional_packages import require_package
from virnuc_profiler.embed.formats.shard_table import ShardTable

METADATA_KEY: Final = "virnuc_profiler"
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
        item = arrow.field("item", arrow.from_numpy_dtype(vectors.dtype), nullable=False)
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
            store_schema=True,
        )

    def positions(self, path: Path) -> NDArray[np.int64]:
        """Return the positions of a file's rows.

        Args:
            path: The file.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is not a Parquet file with positions.
        """
        column = self._parquet.read_table(path, columns=["position"], memory_map=True)["position"]
        positions: NDArray[np.int64] = column.to_numpy()
        return positions
