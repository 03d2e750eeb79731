# SPDX-License-Identifier: MIT
"""A shard whose results are arriving."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.inference.batches import InferenceResult

_NUMPY_DTYPES = {"fp32": np.float32, "fp16": np.float16}


class OpenShard:
    """Puts each vector into the row of its sequence.

    Args:
        shard: The shard.
        hidden_size: Length of a vector.
        dtype: Type of the vectors' numbers on disk, ``fp32`` or ``fp16``.
        residue_counts: (n,) residues of each sequence after truncation, if the vectors of residues are kept too; None
            if not.

    Attributes:
        shard: The shard.
        vectors: (n, hidden_size) vectors in the order of the file.
        non_finite: Number of vectors of sequences that contain NaN or infinity.
        residues: (r, hidden_size) vectors of all residues, sequence after sequence; None if they are not kept.
        offsets: (n + 1,) row of `residues` at which each sequence begins, and the end of the last one.
    """

    def __init__(
        self, shard: Shard, hidden_size: int, dtype: str, residue_counts: NDArray[np.int64] | None = None
    ) -> None:
        self.shard = shard
        self.vectors: NDArray[np.floating] = np.empty((shard.num_sequences, hidden_size), _NUMPY_DTYPES[dtype])
        self.non_finite = 0
        self._arrived = np.zeros(shard.num_sequences, dtype=np.bool_)
        self._left = shard.num_sequences
        self.residues: NDArray[np.floating] | None = None
        self.offsets: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        if residue_counts is not None:
            self.offsets = np.concatenate((self.offsets, np.cumsum(residue_counts)))
            self.residues = np.empty((int(self.offsets[-1]), hidden_size), _NUMPY_DTYPES[dtype])

    @property
    def complete(self) -> bool:
        """Whether all vectors have arrived."""
        return self._left == 0

    def add(self, result: InferenceResult) -> None:
        """Put the vectors of a batch into their rows.

        Args:
            result: Result of a batch, all of whose sequences are of this shard.

        Raises:
            RuntimeError: A sequence is of another shard, or came twice.
        """
        rows = result.positions - self.shard.start
        if rows.min() < 0 or rows.max() >= self.shard.num_sequences or self._arrived[rows].any():
            raise RuntimeError(f"a batch has a sequence that is not of shard {self.shard.number}, or came twice")
        vectors = result.embeddings
        if self.vectors.dtype == np.float16:
            vectors = vectors.half()  # PyTorch converts twelve times as fast as NumPy
            # Large numbers become infinite, which the runner's own check of the fp32 vectors cannot see.
            self.non_finite += len(rows) - int(torch.isfinite(vectors[: len(rows)]).all(dim=1).sum())
        else:
            self.non_finite += len(result.non_finite)
        self.vectors[rows] = vectors[: len(rows)].numpy()
        if self.residues is not None:
            self._add_residues(rows, vectors[len(rows) :].numpy())
        self._arrived[rows] = True
        self._left -= len(rows)

    def _add_residues(self, rows: NDArray[np.int64], tokens: NDArray[np.floating]) -> None:
        """Put the vectors of a batch's residues into their rows, without those of BOS and EOS.

        Args:
            rows: (B,) row of each sequence.
            tokens: (T, hidden_size) vectors of all tokens, sequence after sequence.
        """
        assert self.residues is not None
        counts = self.offsets[rows + 1] - self.offsets[rows]
        ends = np.cumsum(counts)
        number = np.arange(ends[-1])
        # Residue j of sequence i is token 1 + j of it, and each sequence before has two tokens more than residues.
        sources = number + np.repeat(2 * np.arange(len(rows)) + 1, counts)
        targets = number + np.repeat(self.offsets[rows] - (ends - counts), counts)
        self.residues[targets] = tokens[sources]
