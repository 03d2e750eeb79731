# SPDX-License-Identifier: MIT
"""Randomization tests (Fisher 1935), which hold whatever the noise looks like.

Two equal configurations that run in random order could have been measured in each other's place. So each difference
could as well have had the other sign, and each measurement could belong to the other configuration. If the observed
difference is among the largest of all that could have been, the two are not equal.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

_DRAWS: Final = 4096
"""Number of arrangements that are tried: all of them if there are no more, else this many at random."""
_TIE: Final = 1 - 1e-9
"""Factor that makes equal sums in another order compare as equal."""


def sign_flip_error(differences: NDArray[np.float64]) -> float:
    """Return the probability that equal configurations measured in blocks differ as much as these.

    Args:
        differences: Difference of the two in each block.
    """
    sums = np.abs(_signs(len(differences)) @ differences)
    return float(np.mean(sums >= sums[0] * _TIE))


def permutation_error(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """Return the probability that equal configurations measured in any order differ as much as these.

    Args:
        ours: Measurements of the one.
        theirs: Measurements of the other.
    """
    values = np.concatenate([ours, theirs])
    sums = np.abs(_choices(len(ours), len(theirs)) @ (values - values.mean()))
    return float(np.mean(sums >= sums[0] * _TIE))


@lru_cache(maxsize=16)
def _signs(count: int) -> NDArray[np.float64]:
    """Return rows of signs, of which the first is all plus. The other half of all rows would be their negatives."""
    if 2 ** (count - 1) <= _DRAWS:
        numbers = np.arange(2 ** (count - 1))[:, None]
        return np.where(numbers >> np.arange(count) & 1, -1.0, 1.0)
    signs = np.random.default_rng(0).choice([1.0, -1.0], (_DRAWS, count))
    signs[0] = 1
    return signs


@lru_cache(maxsize=16)
def _choices(ours: int, theirs: int) -> NDArray[np.float64]:
    """Return rows of zeros and as many ones as there are measurements of the one, of which the first are the real."""
    count = ours + theirs
    if math.comb(count, ours) <= _DRAWS:
        chosen = np.array(list(combinations(range(count), ours)))
    else:
        random = np.random.default_rng(0)
        chosen = np.argsort(random.random((_DRAWS, count)), axis=1)[:, :ours]
        chosen[0] = np.arange(ours)
    rows = np.zeros((len(chosen), count))
    np.put_along_axis(rows, chosen, 1.0, axis=1)
    return rows
