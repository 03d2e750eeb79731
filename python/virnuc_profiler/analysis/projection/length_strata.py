# SPDX-License-Identifier: MIT
"""The lengths of a workload, counted in strata: what a projection needs of a file, in a few numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final, TypeGuard

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.model_cost import ModelShape, forward_flops

UPPER_BOUNDS: Final = (64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Tokens of the longest sequence of each stratum, BOS and EOS included; the last holds all longer ones too."""

_MOST: Final = 10**18
"""Largest number in strata that is believed; no file has more squared tokens."""
_MIN_STRATIFIED: Final = 24
"""Fewer sequences cannot hold the due share of each stratum."""


@dataclass(frozen=True, slots=True)
class LengthStrata:
    """Sequences counted by length. Lengths are in tokens, after truncation, BOS and EOS included.

    Attributes:
        upper_bounds: Tokens of the longest sequence that each stratum can hold.
        sequences: Number of sequences of each stratum.
        tokens: Sum of the lengths in each stratum.
        squares: Sum of the squared lengths in each stratum.
    """

    upper_bounds: tuple[int, ...]
    sequences: tuple[int, ...]
    tokens: tuple[int, ...]
    squares: tuple[int, ...]

    @property
    def total_sequences(self) -> int:
        """Number of sequences."""
        return sum(self.sequences)

    @property
    def total_tokens(self) -> int:
        """Sum of the lengths."""
        return sum(self.tokens)

    @property
    def mean_tokens(self) -> float:
        """Mean length."""
        return self.total_tokens / self.total_sequences

    def work(self, shape: ModelShape | None) -> list[float]:
        """Return the work of each stratum: FLOPs if the model's shape is known, else tokens.

        Args:
            shape: Shape of the model, or None if it is unknown.
        """
        if shape is None:
            return [float(tokens) for tokens in self.tokens]
        pairs = zip(self.tokens, self.squares, strict=True)
        return [float(forward_flops(tokens, squares, shape)) for tokens, squares in pairs]

    def error_of_mean(self, *, stratified: bool) -> float:
        """Return the relative standard error of the mean length, as an estimate of the mean of what it was drawn from.

        Args:
            stratified: Whether each stratum holds its due share of the sequences, so that only lengths within strata
                vary by chance (Cochran 1977, section 5.3 with proportional allocation); else all lengths do.
        """
        whole = LengthStrata(
            (self.upper_bounds[-1],), (self.total_sequences,), (self.total_tokens,), (sum(self.squares),)
        )
        strata = self if stratified and self.total_sequences >= _MIN_STRATIFIED else whole
        return math.sqrt(strata._variance_of_total()) / self.total_tokens

    def _variance_of_total(self) -> float:
        """Return the variance of the number of tokens that comes from the lengths within strata."""
        variance = 0.0
        lower_bounds = (0, *self.upper_bounds)
        columns = zip(lower_bounds, self.upper_bounds, self.sequences, self.tokens, self.squares, strict=False)
        for lower, upper, held, tokens, squares in columns:
            if held == 1:  # one sequence shows no spread: that of a stratum in which all lengths are as likely
                variance += min((upper - lower) ** 2 / 12, squares)
            elif held:
                variance += held / (held - 1) * max(0.0, squares - tokens**2 / held)
        return variance

    def to_json(self) -> dict[str, Any]:
        """Return the strata as runs hold them."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Any) -> LengthStrata | None:
        """Read what :meth:`to_json` returned; None for anything else, since metadata are of unknown origin."""
        if not isinstance(values, Mapping):
            return None
        columns = [tuple(column) for name in cls.__slots__ if _is_column(column := values.get(name))]
        if len(columns) != len(cls.__slots__) or len({len(column) for column in columns}) != 1:
            return None
        strata = cls(*columns)
        return strata if strata.total_sequences and strata._is_possible() else None

    def _is_possible(self) -> bool:
        """Return whether there are lengths that the strata can be a count of."""
        rows = zip(self.sequences, self.tokens, self.squares, strict=True)
        ascending = all(lower < upper for lower, upper in pairwise((0, *self.upper_bounds)))
        return ascending and all(
            held <= tokens <= squares and tokens**2 <= held * squares if held else tokens == squares == 0
            for held, tokens, squares in rows
        )


def strata_of(lengths: NDArray[np.int64]) -> LengthStrata:
    """Count lengths in strata.

    Args:
        lengths: (n,) tokens of each sequence, after truncation, BOS and EOS included.
    """
    counts = np.bincount(lengths)
    length = np.arange(len(counts))
    ends = [0, *(min(bound + 1, len(counts)) for bound in UPPER_BOUNDS[:-1]), len(counts)]
    columns = (
        tuple(int((counts * length**power)[start:end].sum()) for start, end in pairwise(ends)) for power in range(3)
    )
    return LengthStrata(UPPER_BOUNDS, *columns)


def _is_column(values: Any) -> TypeGuard[Sequence[int]]:
    if not isinstance(values, Sequence) or not values:
        return False
    return all(type(each) is int and 0 <= each <= _MOST for each in values)
