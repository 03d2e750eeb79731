# SPDX-License-Identifier: MIT
"""Which finalists of a search go on, and which of them is chosen. Pure.

The race begins with many finalists, since one noisy trial each cannot tell which of them is best. After a few blocks
half of them leave, and again after some more, so that most trials go to those among which the choice is hard
(successive halving; Jamieson and Talwalkar 2016).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev
from typing import Final

from virnuc_profiler.analysis.confidence.paired import MIN_BLOCKS_TO_DIFFER
from virnuc_profiler.targets.knobs.configuration import Configuration

FINALISTS: Final = 8
CUTS: Final[Mapping[int, int]] = {3: 4, 7: 2}
"""Number of finalists that go on, by the number of blocks after which the others leave."""
MAX_BLOCKS: Final = 16
_NEAR: Final = 0.005
"""A cheaper configuration is preferred if its score is at most this share lower. The practical threshold of 2 % would
be too much: the scores have errors of their own."""
_FAR: Final = 0.1
"""Smallest distance from the median, as a share of the rate, at which a reading may count as an accident."""
_SPREADS: Final = 5.2
"""How many median absolute deviations off a reading may be; 3.5 standard deviations of normal noise."""

Rates = Mapping[Configuration, Sequence[float]]
"""Rates of each configuration in the blocks of the race; of any unit."""


def staying(finalists: Rates, blocks: int) -> list[Configuration]:
    """Return the finalists that run the next block.

    Args:
        finalists: Those that are still in the race, with their rates; without the baseline.
        blocks: Number of blocks so far.
    """
    if blocks not in CUTS:
        return list(finalists)
    best = sorted(finalists, key=lambda one: -_score(finalists[one]))[: CUTS[blocks]]
    return [one for one in finalists if one in best]


def nearly_best(finalists: Rates) -> list[Configuration]:
    """Return the configurations among which the price decides; none without rates.

    Args:
        finalists: Those that have run all blocks.
    """
    scores = {one: _score(rates) for one, rates in finalists.items() if rates}
    floor = max(scores.values(), default=0.0) - _NEAR
    return [one for one, score in scores.items() if score >= floor]


def trials_of_race(finalists: int, blocks: int) -> int:
    """Return how many trials a race takes, the baseline in each block included.

    Args:
        finalists: Number of finalists at its begin.
        blocks: Number of blocks.
    """
    trials = 0
    for block in range(blocks):
        finalists = min(finalists, CUTS.get(block, finalists))
        trials += finalists + 1
    return trials


def affordable_blocks(finalists: int, trials: float) -> int:
    """Return how many blocks the time suffices for.

    Args:
        finalists: Number of finalists.
        trials: Number of trials for which there is time.
    """
    return max((blocks for blocks in range(MAX_BLOCKS + 1) if trials_of_race(finalists, blocks) <= trials), default=0)


def affordable_finalists(finalists: int, trials: float) -> int:
    """Return with how many finalists the time suffices to state a difference; at least one, if there are any.

    Args:
        finalists: Number of finalists that there are.
        trials: Number of trials for which there is time.
    """
    enough = (count for count in range(finalists, 0, -1) if trials_of_race(count, MIN_BLOCKS_TO_DIFFER) <= trials)
    return next(enough, min(1, finalists))


def _score(rates: Sequence[float]) -> float:
    """Return the mean logarithm of the rates, less its standard error.

    Accidents do not count, such as a burst of other work. Of two equal means, that of the steadier configuration is
    more believable: the highest of several unsteady means is the luckiest.
    """
    logs = [math.log(rate) for rate in rates]
    center = median(logs)
    reach = max(_FAR, _SPREADS * median(abs(each - center) for each in logs))
    kept = [each for each in logs if abs(each - center) <= reach]
    return fmean(kept) - (stdev(kept) / math.sqrt(len(kept)) if len(kept) > 1 else 0.0)
