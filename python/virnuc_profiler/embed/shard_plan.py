# SPDX-License-Identifier: MIT
"""Divide the sequences of a file into shards: contiguous ranges of about the same cost.

The plan depends on the file and the settings of the job only, not on the number of processes, so every process makes
the same plan, and a resumed job has the shards that it had before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.model_cost import ModelShape

MAX_RESIDUE_BYTES: Final = 256 << 20
"""Largest size of the vectors of a shard's residues, of which a process holds as many shards in memory."""
MAX_VECTOR_BYTES: Final = 64 << 20
"""Largest size of a shard's vectors: a process holds up to five shards in memory, one that fills and those of its
writers."""
PACKS_PER_SHARD: Final = 32
"""Smallest number of full packs in a shard where the file allows it, because the last pack of a shard is not full."""
WANTED_SHARDS: Final = 2048
"""Number of shards above which more of them gain nothing: even 64 processes finish within 2 % of each other."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A contiguous range of a file's sequences, the unit that is claimed, written and recorded.

    Attributes:
        number: Number of the shard, from 0.
        start: Position of its first sequence in the file.
        stop: Position after its last sequence.
        tokens: Tokens of its sequences after truncation, BOS and EOS included.
        cost: Arithmetic work of its sequences, in FLOPs.
    """

    number: int
    start: int
    stop: int
    tokens: int
    cost: int

    @property
    def num_sequences(self) -> int:
        """Number of its sequences."""
        return self.stop - self.start


def resolve_num_shards(
    tokens: NDArray[np.int64],
    hidden_size: int,
    token_budget: int,
    bytes_per_value: int = 4,
    *,
    per_residue: bool = False,
) -> int:
    """Return how many shards a job has: enough for many processes, each of them large enough to be packed well.

    Args:
        tokens: (n,) tokens of each sequence.
        hidden_size: Length of a vector.
        token_budget: Tokens of a full pack.
        bytes_per_value: Bytes of a vector's number on disk.
        per_residue: Whether the vectors of residues are written too.
    """
    by_memory = -(-len(tokens) * hidden_size * bytes_per_value // MAX_VECTOR_BYTES)
    if per_residue:
        by_memory = max(by_memory, -(-int(tokens.sum()) * hidden_size * bytes_per_value // MAX_RESIDUE_BYTES))
    by_packing = int(tokens.sum()) // (PACKS_PER_SHARD * token_budget)
    return max(1, min(len(tokens), max(by_memory, min(WANTED_SHARDS, by_packing))))


def plan_shards(tokens: NDArray[np.int64], shape: ModelShape, num_shards: int) -> tuple[Shard, ...]:
    """Divide a file into shards of about the same cost.

    The cost of a sequence of s tokens is L (24 h² s + 4 h s²), as in :mod:`virnuc_profiler.analysis.model_cost`.

    Args:
        tokens: (n,) tokens of each sequence of the file.
        shape: Shape of the model.
        num_shards: Number of shards, from 1 to n.

    Returns:
        The shards in the order of the file. Each has at least one sequence.

    Raises:
        ValueError: There are more shards than sequences, or none.
    """
    if not 1 <= num_shards <= len(tokens):
        raise ValueError(f"num_shards is {num_shards}, must be from 1 to the number of sequences, {len(tokens):,}")
    hidden_size = shape.hidden_size
    # Divided by 4 L h, so that the sums stay within 64 bits for any file.
    relative = tokens * (6 * hidden_size + tokens)
    ends = np.cumsum(relative)
    targets = (np.arange(1, num_shards, dtype=np.float64) * (int(ends[-1]) / num_shards)).astype(np.int64)
    cuts = np.searchsorted(ends, targets, side="left") + 1
    # A sequence that costs more than a shard would leave the shards after it empty.
    order = np.arange(1, num_shards)
    cuts = np.maximum.accumulate(np.maximum(cuts, order) - order) + order
    cuts = np.minimum(cuts, len(tokens) - num_shards + order)
    bounds = np.concatenate(([0], cuts, [len(tokens)]))
    token_sums = np.add.reduceat(tokens, bounds[:-1])
    costs = np.add.reduceat(relative, bounds[:-1])
    factor = 4 * shape.num_layers * hidden_size
    rows = zip(bounds[:-1].tolist(), bounds[1:].tolist(), token_sums.tolist(), costs.tolist(), strict=True)
    return tuple(
        Shard(number, start, stop, count, factor * cost) for number, (start, stop, count, cost) in enumerate(rows)
    )
