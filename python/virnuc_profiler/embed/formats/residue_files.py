# SPDX-License-Identifier: MIT
"""The vectors of all residues of a shard, in a safetensors file of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.embed.formats.mapped_tensors import MappedTensors
from virnuc_profiler.embed.formats.optional_packages import require_package

SUFFIX: Final = "safetensors"


def write_residues(
    file: Any, start: int, residues: NDArray[Any], offsets: NDArray[np.int64], metadata: Mapping[str, Any]
) -> None:
    """Write the residues of a shard.

    Args:
        file: Open binary file.
        start: Position of the shard's first sequence.
        residues: (r, hidden_size) vectors of all residues, sequence after sequence.
        offsets: (n + 1,) row at which each sequence begins, and the end of the last one.
        metadata: What the file says of itself.

    Raises:
        OSError: The file cannot be written.
        LibraryUnavailable: safetensors is missing.
    """
    save = require_package("safetensors.numpy", "vectors of residues").save
    positions = np.arange(start, start + len(offsets) - 1, dtype=np.int64)
    tensors = {"residues": residues, "offsets": offsets, "positions": positions}
    file.write(save(tensors, metadata={"virnuc_profiler": json.dumps(metadata)}))


class ResidueView:
    """The residues of a shard, mapped into memory.

    Args:
        path: The file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a file of residues.
    """

    def __init__(self, path: Path) -> None:
        self._tensors = MappedTensors(path, ("residues", "offsets", "positions"))
        self._offsets = self._tensors["offsets"]

    def of_row(self, row: int) -> NDArray[Any]:
        """Return a copy of the vectors of one sequence's residues, (residues, hidden_size).

        Args:
            row: Number of the sequence in the shard.
        """
        vectors: NDArray[Any] = np.array(self._tensors["residues"][self._offsets[row] : self._offsets[row + 1]])
        return vectors
