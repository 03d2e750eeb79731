# SPDX-License-Identifier: MIT
"""A dataset whose items are ranges of a file's sequences, for a loader that decides while it runs what comes next."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from virnuc_profiler.inference.batches import EncodedChunk
from virnuc_profiler.inference.sequences.dataset import FastaSource, IndexBasedDataset


class SequenceRange(NamedTuple):
    """A range of sequences that is read as one chunk.

    Attributes:
        start: Position of the first sequence.
        stop: Position after the last sequence.
        flush: Whether a collator packs all that it holds after this range.
    """

    start: int
    stop: int
    flush: bool = False


class RangeDataset(Dataset[EncodedChunk]):
    """The sequences of a FASTA file by range.

    Args:
        fasta: A path or an open `FastaFile`.
        max_sequence_length: Length limit in residues; longer sequences are truncated and counted.

    Raises:
        WorkloadError: The file cannot be read, is not FASTA, or is refused.
    """

    def __init__(self, fasta: FastaSource, *, max_sequence_length: int = 1022) -> None:
        self._dataset = IndexBasedDataset(fasta, max_sequence_length=max_sequence_length)

    def sequence_ids(self, positions: NDArray[np.int64]) -> Sequence[str]:
        """Return the identifiers of the sequences at `positions`, in their order."""
        return self._dataset.sequence_ids(positions)

    def __getitem__(self, key: SequenceRange) -> EncodedChunk:
        chunk = self._dataset.encode(np.arange(key.start, key.stop, dtype=np.int64))
        return EncodedChunk(
            chunk.positions, chunk.tokens, chunk.offsets, chunk.truncated, chunk.unknown_residues, key.flush
        )
