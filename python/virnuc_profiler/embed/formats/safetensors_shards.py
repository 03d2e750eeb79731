# SPDX-License-Identifier: MIT
"""Shards as safetensors files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.embed.formats.mapped_tensors import MappedTensors
from virnuc_profiler.embed.formats.optional_packages import require_package
from virnuc_profiler.embed.formats.shard_table import METADATA_KEY, IdColumn, ShardTable
from virnuc_profiler.embed.formats.shard_view import PagePlace, VectorPages


class SafetensorsShards:
    """Writes and reads shards in safetensors.

    Args:
        metadata: What the files say of themselves under the key ``virnuc_profiler`` of their metadata.
    """

    suffix: Final = "safetensors"

    def __init__(self, metadata: Mapping[str, Any] | None = None) -> None:
        self._numpy = require_package("safetensors.numpy", "safetensors files")
        self._metadata = {METADATA_KEY: json.dumps(metadata or {})}

    def write(self, table: ShardTable, file: Any) -> None:
        """Write a shard.

        Args:
            table: Rows of the shard.
            file: Open binary file.

        Raises:
            OSError: The file cannot be written.
        """
        tensors = {
            "vectors": table.vectors,
            "positions": table.positions,
            "lengths": table.lengths,
            "truncated": table.truncated,
            "id_offsets": table.ids.offsets,
            "id_text": table.ids.text,
        }
        file.write(self._numpy.save(tensors, metadata=self._metadata))

    def open(self, path: Path) -> SafetensorsView:
        """Open a shard's file.

        Args:
            path: The file.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is not a safetensors file of a shard.
        """
        return SafetensorsView(path)


class SafetensorsView:
    """A shard's file, mapped into memory.

    Args:
        path: The file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a safetensors file of a shard.
    """

    def __init__(self, path: Path) -> None:
        self._tensors = MappedTensors(path, ("vectors", "positions", "lengths", "truncated", "id_offsets", "id_text"))

    @property
    def positions(self) -> NDArray[np.int64]:
        """(n,) positions of the rows in the FASTA file."""
        return self._tensors["positions"]

    @property
    def lengths(self) -> NDArray[np.int32]:
        """(n,) residues of each sequence."""
        return self._tensors["lengths"]

    @property
    def truncated(self) -> NDArray[np.bool_]:
        """(n,) whether the sequence was cut to the length limit."""
        return self._tensors["truncated"]

    @property
    def ids(self) -> IdColumn:
        """(n,) identifiers of the rows."""
        return IdColumn(self._tensors["id_text"], self._tensors["id_offsets"])

    @property
    def vectors(self) -> VectorPages:
        """The vectors, as a view of the mapped file."""
        return VectorPages([self._tensors["vectors"]])

    @property
    def places(self) -> Sequence[PagePlace]:
        """Where the vectors are in the file."""
        return [PagePlace(len(self._tensors["vectors"]), self._tensors.start_of("vectors"))]
