# SPDX-License-Identifier: MIT
"""The formats by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from virnuc_profiler.embed.formats.shard_table import ShardTable
from virnuc_profiler.embed.formats.shard_view import ShardView


class ShardFormat(Protocol):
    """Writes and reads the files of shards."""

    @property
    def suffix(self) -> str:
        """Suffix of the files' names."""

    def write(self, table: ShardTable, file: Any) -> None:
        """Write a shard into an open binary file."""

    def open(self, path: Path) -> ShardView:
        """Open the file of a shard for reading."""


def make_format(name: str, metadata: Mapping[str, Any] | None = None) -> ShardFormat:
    """Return a format.

    Args:
        name: ``parquet`` or ``safetensors``.
        metadata: What the files say of themselves.

    Raises:
        LibraryUnavailable: Its package is missing.
    """
    if name == "parquet":
        from virnuc_profiler.embed.formats.parquet_shards import ParquetShards

        return ParquetShards(metadata)
    from virnuc_profiler.embed.formats.safetensors_shards import SafetensorsShards

    return SafetensorsShards(metadata)
