# SPDX-License-Identifier: MIT
"""A linear model of the device memory that a pack needs, fitted to measured peaks.

The peak of a run is a fixed part plus bytes per token times the number of tokens in its largest pack. Weights and
library workspaces are fixed. A layer's activations are proportional to the tokens if sequence lengths have the same
distribution. The memory of other batches in flight is part of the measured peaks, and so of both coefficients.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

TOLERANCE_FACTOR: Final = 0.9
"""Predictions may be wrong by a tenth. A pack is rejected only if 0.9 of its predicted memory exceeds the available
memory, and recommended only if it leaves a tenth of the available memory for fragmentation."""


@dataclass(frozen=True, slots=True)
class PackPeak:
    """A measured memory peak.

    Attributes:
        tokens: Number of tokens in the largest pack of the run.
        peak_bytes: Most device memory in use during the run.
    """

    tokens: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryFootprint:
    """Memory that one model needs in one precision.

    Attributes:
        bytes_per_token: Increase of the peak per token in a pack.
        fixed_bytes: Part of the peak that does not depend on packs, mainly the weights.
    """

    bytes_per_token: float
    fixed_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Return the footprint as plain JSON values for result files."""
        return asdict(self)


def fit_footprint(small: PackPeak, large: PackPeak) -> MemoryFootprint | None:
    """Fit a line through two peaks; return None if the larger pack did not need more memory.

    Args:
        small: Peak of a run with small packs.
        large: Peak of a run with larger packs.

    Raises:
        ValueError: `large` does not have more tokens than `small`.
    """
    if large.tokens <= small.tokens:
        raise ValueError(f"the large pack has {large.tokens:,} tokens, the small one {small.tokens:,}")
    if large.peak_bytes <= small.peak_bytes:
        return None
    slope = (large.peak_bytes - small.peak_bytes) / (large.tokens - small.tokens)
    return MemoryFootprint(slope, round(small.peak_bytes - slope * small.tokens))


def predict_peak_bytes(footprint: MemoryFootprint, pack_tokens: int) -> int:
    """Predict the peak of a run.

    Args:
        footprint: Footprint of the model.
        pack_tokens: Number of tokens in the largest pack of the run.
    """
    return round(footprint.fixed_bytes + footprint.bytes_per_token * pack_tokens)


def exceeds_memory(predicted_bytes: int, available_bytes: int) -> bool:
    """Whether a pack does not fit even if its prediction is too high by the tolerance.

    Args:
        predicted_bytes: Predicted peak of the run.
        available_bytes: Device memory that is available.
    """
    return TOLERANCE_FACTOR * predicted_bytes > available_bytes


def largest_fitting_budget(footprint: MemoryFootprint, available_bytes: int) -> int:
    """Return the largest token budget that should fit and leave a tenth of the memory free; 0 if none does.

    Args:
        footprint: Footprint of the model.
        available_bytes: Device memory that is available.
    """
    return max(0, math.floor((TOLERANCE_FACTOR * available_bytes - footprint.fixed_bytes) / footprint.bytes_per_token))


def largest_pack_tokens(token_budget: int, max_in_buffer: int) -> int:
    """Return the number of tokens in the largest pack of a run, provided that packing fills the budget.

    A budget beyond the content of the buffer is never filled.

    Args:
        token_budget: Maximum number of tokens in a pack.
        max_in_buffer: Number of tokens in the fullest buffer, from :func:`max_tokens_in_buffer`.
    """
    return min(token_budget, max_in_buffer)


def min_largest_pack_tokens(token_budget: int, max_in_buffer: int, longest_tokens: int) -> int:
    """Return a lower bound of the number of tokens in the largest pack of a run, for any order of the sequences.

    Either the whole buffer is one pack, or some sequence did not fit into a pack, which then has more tokens than the
    budget minus that sequence. The largest pack is also at least as large as the longest sequence.

    Args:
        token_budget: Maximum number of tokens in a pack.
        max_in_buffer: Number of tokens in the fullest buffer, from :func:`max_tokens_in_buffer`.
        longest_tokens: Number of tokens in the longest sequence, at most the budget.
    """
    return min(max(token_budget - longest_tokens + 1, longest_tokens), max_in_buffer)


def max_tokens_in_buffer(buffer_size: int, num_sequences: int, tokens: int) -> int:
    """Return a lower bound of the number of tokens in the fullest buffer.

    The sequences are distributed over ceil(num_sequences / buffer_size) buffers, and the fullest one has at least the
    mean number of tokens.

    Args:
        buffer_size: Number of sequences that are packed together.
        num_sequences: Number of sequences in the workload, at least 1.
        tokens: Number of tokens in the workload.
    """
    return math.ceil(tokens / math.ceil(num_sequences / buffer_size))
