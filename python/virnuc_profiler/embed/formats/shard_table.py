# SPDX-License-Identifier: MIT
"""What a shard's file holds, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.inference.sequences.fasta import FastaFile

METADATA_KEY: Final = "virnuc_profiler"
"""Key under which files of every format say what they are."""


@dataclass(frozen=True, slots=True)
class IdColumn:
    """Identifiers as one block of UTF-8 text.

    Attributes:
        text: (bytes,) uint8 text of all identifiers, one after the other.
        offsets: (n + 1,) int32 offset at which each identifier begins, and the end of the last one.
    """

    text: NDArray[np.uint8]
    offsets: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True, slots=True)
class ShardTable:
    """The rows of a shard in the order of the file.

    Attributes:
        start: Position of the first row; the others follow without a gap.
        ids: (n,) identifiers.
        lengths: (n,) int32 residues of each sequence in the file.
        truncated: (n,) whether the sequence was cut to the length limit.
        vectors: (n, hidden_size) vectors.
    """

    start: int
    ids: IdColumn
    lengths: NDArray[np.int32]
    truncated: NDArray[np.bool_]
    vectors: NDArray[Any]

    @property
    def positions(self) -> NDArray[np.int64]:
        """(n,) positions of the rows in the file."""
        return np.arange(self.start, self.start + len(self.vectors), dtype=np.int64)


def table_of(shard: Shard, vectors: NDArray[Any], fasta: FastaFile, max_residues: int) -> ShardTable:
    """Return the rows of a shard.

    Args:
        shard: The shard.
        vectors: (n, hidden_size) its vectors in the order of the file.
        fasta: File of its sequences.
        max_residues: Residues to which longer sequences are cut.

    Raises:
        WorkloadError: The file cannot be read, or was changed.
    """
    counts = fasta.residue_counts[shard.start : shard.stop]
    return ShardTable(
        shard.start, read_ids(fasta, shard.start, shard.stop), counts.astype(np.int32), counts > max_residues, vectors
    )


def read_ids(fasta: FastaFile, start: int, stop: int) -> IdColumn:
    """Return the identifiers of a range of sequences, without a Python object for each.

    Args:
        fasta: The file.
        start: Position of the first sequence.
        stop: Position after the last sequence.

    Raises:
        WorkloadError: The file cannot be read, or was changed.
    """
    index = fasta.index
    text, starts, ends = fasta.read_ranges(index.header_starts[start:stop], index.id_ends[start:stop])
    lengths = ends - starts
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    sources = np.arange(offsets[-1], dtype=np.int64) + np.repeat(starts - offsets[:-1], lengths)
    joined = text[sources]
    if (joined < 0x80).all():
        return IdColumn(joined, offsets.astype(np.int32))
    names = [name.encode() for name in fasta.sequence_ids(np.arange(start, stop, dtype=np.int64))]
    ends = np.cumsum([0, *map(len, names)])
    return IdColumn(np.frombuffer(b"".join(names), dtype=np.uint8), ends.astype(np.int32))
