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

    Attributes:
        shard: The shard.
        vectors: (n, hidden_size) vectors in the order of the file.
        non_finite: Number of vectors that contain NaN or infinity.
    """

    def __init__(self, shard: Shard, hidden_size: int, dtype: str) -> None:
        self.shard = shard
        self.vectors: NDArray[np.floating] = np.empty((shard.num_sequences, hidden_size), _NUMPY_DTYPES[dtype])
        self.non_finite = 0
        self._arrived = np.zeros(shard.num_sequences, dtype=np.bool_)
        self._left = shard.num_sequences

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
            self.non_finite += len(rows) - int(torch.isfinite(vectors).all(dim=1).sum())
        else:
            self.non_finite += len(result.non_finite)
        self.vectors[rows] = vectors.numpy()
        self._arrived[rows] = True
        self._left -= len(rows)
