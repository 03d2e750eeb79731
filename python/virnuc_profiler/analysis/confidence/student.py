# SPDX-License-Identifier: MIT
"""Quantiles of Student's t and of its relatives."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def check_confidence(confidence: float) -> None:
    """Refuse a confidence that is no probability.

    Args:
        confidence: Probability with which an interval contains the truth.

    Raises:
        ValueError: `confidence` is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must be between 0 and 1, such as 0.95")


def two_sided_t(error: float, degrees: float) -> float:
    """Return the value that the magnitude of Student's t exceeds with a given probability.

    Args:
        error: Probability of exceeding it, both sides together.
        degrees: Degrees of freedom; infinity gives the normal distribution.
    """
    from scipy import special  # takes 0.2 s to import; commands that compute no interval do without it

    if math.isinf(degrees):
        return float(-special.ndtri(error / 2))
    return float(-special.stdtrit(degrees, error / 2))


def mixture_half_width(weights: NDArray[np.float64], scales: NDArray[np.float64], degrees: int, error: float) -> float:
    """Return the half-width of the interval of a mixture of Student's t distributions around the same center.

    Args:
        weights: Weight of each component; they add up to 1.
        scales: Scale of each component.
        degrees: Degrees of freedom of all components.
        error: Probability outside of the interval, both sides together.
    """
    from scipy import special  # takes 0.2 s to import; commands that compute no interval do without it

    quantile = two_sided_t(error, degrees)
    low, high = quantile * float(scales.min()), quantile * float(scales.max())
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        outside = 2 * float(weights @ special.stdtr(degrees, -middle / scales))
        low, high = (middle, high) if outside > error else (low, middle)
    return high


def mixture_tails(weights: NDArray[np.float64], values: NDArray[np.float64], degrees: int) -> float:
    """Return the probability below a value under a mixture of Student's t distributions.

    Args:
        weights: Weight of each component; they add up to 1.
        values: The value in units of each component, from its center.
        degrees: Degrees of freedom of all components.
    """
    from scipy import special  # takes 0.2 s to import; commands that compute no interval do without it

    return float(weights @ special.stdtr(degrees, values))


def dunnett_critical(samples: NDArray[np.int64], reference: int, degrees: int, error: float) -> float:
    """Return the critical value for comparing several means with one reference at once (Dunnett 1955).

    With equal variances, the statistics of the comparisons depend on each other only through the mean of the reference
    and the pooled standard deviation. Given these two, they are independent, so the probability is a double integral.

    Args:
        samples: Number of measurements of each mean that is compared.
        reference: Number of measurements of the reference.
        degrees: Degrees of freedom of the pooled variance.
        error: Probability that any of the comparisons exceeds the value by chance.
    """
    return _dunnett_critical(tuple(sorted(samples.tolist())), reference, degrees, error)


@lru_cache(maxsize=256)  # it takes 0.1 s, and a sweep asks for few different ones
def _dunnett_critical(counts: tuple[int, ...], reference: int, degrees: int, error: float) -> float:
    from scipy import special  # takes 0.2 s to import; commands that compute no interval do without it

    samples = np.array(counts)
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(64)
    node_weights = node_weights / node_weights.sum()
    shares = (np.arange(256) + 0.5) / 256
    spreads = np.sqrt(special.chdtri(degrees, 1 - shares) / degrees)
    loading = np.sqrt(samples / (samples + reference))
    rest = np.sqrt(1 - loading**2)

    def outside(critical: float) -> float:
        edge = critical * spreads[:, None, None]
        shift = loading * nodes[:, None]
        inside = special.ndtr((shift + edge) / rest) - special.ndtr((shift - edge) / rest)
        return 1 - float(np.mean(inside.prod(axis=2) @ node_weights))

    low, high = two_sided_t(error, degrees), two_sided_t(error / len(samples), degrees) * 1.01
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if outside(middle) > error else (low, middle)
    return high
