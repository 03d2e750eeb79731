# SPDX-License-Identifier: MIT
"""Shards as safetensors files."""

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


class SafetensorsShards:
    """Writes and reads shards in safetensors.

    Args:
        metadata: What the files say of themselves under the key ``virnuc_profiler`` of their metadata.
    """

    suffix: Final = "safetensors"

    def __init__(self, metadata: Mapping[str, Any] | None = None) -> None:
        self._safetensors = require_package("safetensors", "safetensors files")
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

    def positions(self, path: Path) -> NDArray[np.int64]:
        """Return the positions of a file's rows.

        Args:
            path: The file.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is not a safetensors file with positions.
        """
        with self._safetensors.safe_open(path, framework="np") as file:
            positions: NDArray[np.int64] = file.get_tensor("positions")
        return positions
