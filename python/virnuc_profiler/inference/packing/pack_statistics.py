# SPDX-License-Identifier: MIT
"""Packing statistics of a batch, for profiled loops that do their own packing or padding."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virnuc_profiler import _core
from virnuc_profiler._core import PackStatistics

__all__ = ["PackStatistics", "pack_statistics", "padded_statistics"]


def pack_statistics(cu_seqlens: NDArray[np.int32], token_budget: int | None = None) -> PackStatistics:
    """Return the packing statistics of a batch, for ``Batch.set_packing``.

    All lengths are in tokens, BOS and EOS included. ``sum_squared_lengths``, in tokens squared, measures the work of
    attention; ``padding_tokens`` is what padding every sequence to the longest would add. ``packing_efficiency`` is
    tokens / `token_budget`, from 0 to 1; it is None without a budget and for a single sequence above the budget.

    Args:
        cu_seqlens: (sequences + 1,) int32 array on the host, cumulative lengths in tokens, starting at 0.
        token_budget: Tokens that the batch was packed up to, or was padded to: its sequences times the length of a
            row. None if it was not packed to a budget.

    Raises:
        ValueError: `cu_seqlens` is not one-dimensional, is empty, does not start at 0 or decreases; or `token_budget`
            is below 1, or several sequences together exceed it.
    """
    return _core.pack_statistics(cu_seqlens, token_budget)


def padded_statistics(lengths: ArrayLike, padded_to: int | None = None) -> PackStatistics:
    """Return the packing statistics of a padded batch, whose efficiency is the share of its tokens that is not padding.

    Args:
        lengths: (B,) lengths in tokens, BOS and EOS included, on the host.
        padded_to: Length that all sequences were padded to; None for that of the longest.

    Raises:
        ValueError: There are no lengths, one is negative, or they do not fit into rows of that length.
    """
    counts = np.asarray(lengths, dtype=np.int32)
    if counts.ndim != 1 or not len(counts) or counts.min() < 0:
        raise ValueError("lengths must be the tokens of each sequence of the batch, of at least one")
    longest = int(counts.max()) if padded_to is None else padded_to
    if longest < counts.max():
        raise ValueError(f"padded_to is {longest:,}, but the longest sequence has {counts.max():,} tokens")
    cu_seqlens = np.concatenate([np.zeros(1, np.int32), np.cumsum(counts, dtype=np.int32)])
    return _core.pack_statistics(cu_seqlens, max(1, longest * len(counts)))
