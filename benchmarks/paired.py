# SPDX-License-Identifier: MIT
"""Comparing two variants of one piece of work: the order that cancels drift, and a ratio with its interval.

Noise on a shared machine comes in bursts, so that a few pairs are far off. Many short pairs and an estimate that such
pairs hardly move (Hodges and Lehmann 1963) say more than few long ones and a mean; the mean stands beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, mean, median, stdev

_Z = NormalDist().inv_cdf(0.975)


def bare_goes_first(pair: int) -> bool:
    """Which half of a pair comes first: ABBA BAAB BAAB ABBA, the Thue-Morse sequence.

    A machine that warms up slows down whatever runs second. In ABBA a linear drift cancels, in ABBA BAAB a quadratic
    one does too, and so on.
    """
    return pair.bit_count() % 2 == 0


@dataclass(frozen=True, slots=True)
class Ratio:
    """The ratio of n pairs, estimated twice, each with a 95 % interval. All on logarithms.

    Attributes:
        typical: median of the means of all pairs of pairs (Hodges and Lehmann).
        low: lower end of its interval, from Wilcoxon's signed ranks (normal approximation).
        high: upper end.
        mean: geometric mean.
        mean_low: lower end of Student's interval of the mean.
        mean_high: upper end.
        pairs: n.
    """

    typical: float
    low: float
    high: float
    mean: float
    mean_low: float
    mean_high: float
    pairs: int

    @property
    def distinguishable_from_1(self) -> bool:
        """Whether 1 lies outside of the interval."""
        return not self.low <= 1 <= self.high


def ratio_of_pairs(measured: Sequence[float], base: Sequence[float]) -> Ratio:
    """How many times longer `measured` took than `base`, pair by pair.

    Raises:
        ValueError: fewer than three pairs, or lists of different lengths.
    """
    if len(measured) < 3:
        raise ValueError(f"an interval needs at least 3 pairs, not {len(measured)}")
    logs = [math.log(a / b) for a, b in zip(measured, base, strict=True)]
    n = len(logs)
    centre = mean(logs)
    half_width = t_quantile(0.975, n - 1) * stdev(logs) / math.sqrt(n)
    averages = sorted((a + b) / 2 for i, a in enumerate(logs) for b in logs[i:])  # Walsh's, n (n + 1) / 2 of them
    outside = n * (n + 1) / 4 - _Z * math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    cut = max(0, math.floor(outside))
    return Ratio(
        typical=math.exp(median(averages)),
        low=math.exp(averages[cut]),
        high=math.exp(averages[-1 - cut]),
        mean=math.exp(centre),
        mean_low=math.exp(centre - half_width),
        mean_high=math.exp(centre + half_width),
        pairs=n,
    )


def t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t, by its expansion around the normal's (Abramowitz and Stegun, 26.7.5).

    Within 1 % from two degrees of freedom on, within 0.02 % from five; nothing else here would need SciPy.
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees**power for power, term in enumerate(terms, 1))
