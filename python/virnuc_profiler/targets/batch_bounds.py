# SPDX-License-Identifier: MIT
"""How many tokens the largest batch of a run has, as far as that follows from the knobs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from virnuc_profiler.analysis.memory_footprint import (
    largest_pack_tokens,
    max_tokens_in_buffer,
    min_largest_pack_tokens,
)

if TYPE_CHECKING:
    from virnuc_profiler.targets.knobs.configuration import Configuration

TOKEN_KNOBS: Final = ("token_budget", "batch_tokens", "toks_per_batch", "token_per_batch")
"""Knobs that hold the most tokens of a batch, padding included where a target pads."""

SEQUENCE_KNOB: Final = "batch_size"
"""Knob that holds the sequences of a batch."""


class BatchBounds(NamedTuple):
    """Bounds of the tokens in the largest batch of a run.

    Attributes:
        least: Tokens that it has at least, in any order of the sequences.
        most: Tokens that it has at most.
    """

    least: int
    most: int


def batch_bounds(
    configuration: Configuration, num_sequences: int, tokens: int, longest_tokens: int
) -> BatchBounds | None:
    """Return bounds of the largest batch; None if no knob says how large batches are.

    Args:
        configuration: Value of each knob.
        num_sequences: Number of sequences of the workload.
        tokens: Number of their tokens.
        longest_tokens: Number of tokens of the longest one.
    """
    budget = next((value for name in TOKEN_KNOBS if (value := configuration.get(name)) is not None), None)
    if isinstance(budget, int):
        together = configuration.get("buffer_size") or num_sequences
        buffered = max_tokens_in_buffer(together, num_sequences, tokens)
        least = min_largest_pack_tokens(budget, buffered, longest_tokens)
        return BatchBounds(least, largest_pack_tokens(budget, buffered))
    size = configuration.get(SEQUENCE_KNOB)
    if not isinstance(size, int) or size < 1:
        return None
    fullest = max_tokens_in_buffer(size, num_sequences, tokens)
    return BatchBounds(max(fullest, longest_tokens), max(fullest, min(size, num_sequences) * longest_tokens))
