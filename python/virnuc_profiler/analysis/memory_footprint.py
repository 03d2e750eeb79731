# SPDX-License-Identifier: MIT
"""How much device memory a pack takes: a straight line through measured peaks.

The peak of a run is a fixed part plus bytes per token times the tokens of its largest pack. The weights and the
libraries' work spaces do not grow; what a layer holds at once does, in proportion to the tokens, if the lengths of
the sequences are spread alike. What other batches in flight hold is in the measured peaks, and so in both figures.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

DOUBT: Final = 0.9
"""The line is trusted to a tenth, in favour of the attempt: a pack surely does not fit if even 0.9 of what is
predicted is more than there is, and one is only called fitting if it leaves a tenth of that for fragmentation."""


@dataclass(frozen=True, slots=True)
class PackPeak:
    """What was measured: the most bytes that were in use while packs of so many tokens were run."""

    tokens: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryFootprint:
    """What one model in one precision needs.

    Attributes:
        bytes_per_token: by how much the peak grows with each token of a pack.
        fixed_bytes: what does not grow, the weights above all.
    """

    bytes_per_token: float
    fixed_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """As result files hold it."""
        return asdict(self)


def fit_footprint(small: PackPeak, large: PackPeak) -> MemoryFootprint | None:
    """The line through two peaks; None if the larger pack took no more, so that nothing can be learned from them.

    Raises:
        ValueError: the second pack is not larger than the first.
    """
    if large.tokens <= small.tokens:
        raise ValueError(f"the large pack has {large.tokens:,} tokens, the small one {small.tokens:,}")
    if large.peak_bytes <= small.peak_bytes:
        return None
    slope = (large.peak_bytes - small.peak_bytes) / (large.tokens - small.tokens)
    return MemoryFootprint(slope, round(small.peak_bytes - slope * small.tokens))


def predict_peak_bytes(footprint: MemoryFootprint, pack_tokens: int) -> int:
    """The peak of a run whose largest pack has so many tokens."""
    return round(footprint.fixed_bytes + footprint.bytes_per_token * pack_tokens)


def exceeds_memory(predicted_bytes: int, available_bytes: int) -> bool:
    """Whether that much cannot fit, also if the prediction is too high by as much as it may be."""
    return DOUBT * predicted_bytes > available_bytes


def largest_fitting_budget(footprint: MemoryFootprint, available_bytes: int) -> int:
    """The largest token budget that should fit, in tokens, with a tenth of the memory to spare; 0 if none does."""
    return max(0, math.floor((DOUBT * available_bytes - footprint.fixed_bytes) / footprint.bytes_per_token))


def largest_pack_tokens(token_budget: int, max_in_buffer: int) -> int:
    """Tokens of the largest pack of a run, if packing fills the budget: one above what is buffered is never filled.

    Args:
        token_budget: most tokens of a pack.
        max_in_buffer: see :func:`max_tokens_in_buffer`.
    """
    return min(token_budget, max_in_buffer)


def min_largest_pack_tokens(token_budget: int, max_in_buffer: int, longest_tokens: int) -> int:
    """Tokens that the largest pack of a run has at least, however badly the sequences fit together.

    Either all that is buffered is one pack, or a sequence did not fit one, which has more than the budget less that
    sequence then. Somewhere the longest sequence is packed, too.

    Args:
        token_budget: most tokens of a pack.
        max_in_buffer: see :func:`max_tokens_in_buffer`.
        longest_tokens: of the longest sequence, at most the budget.
    """
    return min(max(token_budget - longest_tokens + 1, longest_tokens), max_in_buffer)


def max_tokens_in_buffer(buffer_size: int, num_sequences: int, tokens: int) -> int:
    """Tokens that are buffered, at least, when the buffer is fullest.

    Whole buffers that are packed into one pack each share all sequences out between them, in so many parts as there
    are fillings; and the fullest part has no less than their mean.

    Args:
        buffer_size: sequences that are packed together.
        num_sequences: of the workload, at least 1.
        tokens: of the workload.
    """
    return math.ceil(tokens / math.ceil(num_sequences / buffer_size))
