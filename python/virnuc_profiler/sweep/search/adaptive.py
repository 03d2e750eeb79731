# SPDX-License-Identifier: MIT
"""The adaptive search: short trials where they tell most, and the finalists that the race then begins with. Pure.

Half of the trials go where Optuna expects an improvement, the other half where the surrogate expects the highest rate.
The latter repeats a configuration that leads by one reading, and so unmasks it if it was luck. With few noisy trials,
such greed does as well as more careful rules, or better (De Ath and others 2021). No single reading decides: the
finalists are chosen by the surrogate, measured again in blocks, and judged by those measurements alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from virnuc_profiler.sweep.search.finals import FINALISTS, MAX_BLOCKS
from virnuc_profiler.sweep.search.proposals import propose
from virnuc_profiler.sweep.search.search_space import SearchSpace
from virnuc_profiler.sweep.search.surrogate import Surrogate
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration

TRIALS: Final = 16
RACE_SHARE: Final = 0.5
"""Share of the time that is kept for the race."""
MIN_TRIALS: Final = 4
"""Trials that are made whatever the time: the baseline and the seeds."""
_MAX_REPEATS: Final = 1
"""How often the surrogate may have a configuration measured again; the race is for what is still good then."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What came of one trial.

    Attributes:
        rate: Work per second, or whatever else is to be maximized; None if the configuration failed.
        seconds: Time that the trial took in all.
    """

    rate: float | None
    seconds: float


Trials = Sequence[tuple[Configuration, Measurement]]
"""The trials before the race, in order; a configuration may occur several times."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a search ends.

    Attributes:
        trials: Most trials before the race, the baseline among them.
        finalists: Most configurations that enter the race, beside the baseline.
        max_blocks: Most blocks of the race.
        seconds: Time for all trials with the race; None for no limit.
    """

    trials: int = TRIALS
    finalists: int = FINALISTS
    max_blocks: int = MAX_BLOCKS
    seconds: float | None = None


def next_trial(
    space: SearchSpace, trials: Trials, *, limits: Limits, seed: int, baseline: Configuration = BASELINE
) -> Configuration | None:
    """Return the configuration to measure next; None if it is time for the race.

    It follows from the trials so far and the seed alone, so a search that was interrupted goes on as if it had not
    been.

    Args:
        space: The space of the search.
        trials: The trials so far.
        limits: When the search ends.
        seed: Random seed.
        baseline: Configuration that comes first, because all others are compared with it.

    Raises:
        UsageError: The extra ``search`` is not installed.
    """
    number = len(trials)
    if not goes_on(trials, limits):
        return None
    observations, failed = _observations(trials), space.hopeless(_failed(trials))
    tried = {one for one, _ in trials}
    first = [one for one in (baseline, *space.seeds()) if one not in tried and one not in failed]
    if first:
        return first[0]
    if not observations:  # nothing has worked so far: take what is cheap
        return next((one for one in space.configurations if one not in failed), None)
    if number % 2:
        proposed = propose(space, observations, seed)
        if proposed not in failed:
            return proposed
    counts = Counter(one for one, _ in observations)
    repeated = {one for one, count in counts.items() if count > _MAX_REPEATS}
    return Surrogate(space, observations).best(failed | repeated)


def goes_on(trials: Trials, limits: Limits) -> bool:
    """Return whether there is another trial before the race.

    Args:
        trials: The trials so far.
        limits: When the search ends.
    """
    return len(trials) < limits.trials and (len(trials) < MIN_TRIALS or _has_time(trials, limits))


def finalists(
    space: SearchSpace, trials: Trials, count: int, seed: int, allowed: Iterable[Configuration] | None = None
) -> tuple[Configuration, ...]:
    """Return the configurations that enter the race, of those that were measured; none if none succeeded.

    Args:
        space: The space of the search.
        trials: The trials before the race.
        count: Number of finalists.
        seed: Random seed.
        allowed: Configurations that keep what is required of the best one; None for all.
    """
    observations, failed = _observations(trials), _failed(trials)
    candidates = list(dict.fromkeys(one for one, _ in observations if one not in failed))
    if allowed is not None:
        wanted = set(allowed)
        candidates = [one for one in candidates if one in wanted] or candidates
    if not candidates:
        return ()
    return Surrogate(space, observations).finalists(candidates, count, seed)


def _observations(trials: Trials) -> list[tuple[Configuration, float]]:
    return [(one, math.log(taken.rate)) for one, taken in trials if taken.rate is not None]


def _failed(trials: Trials) -> frozenset[Configuration]:
    return frozenset(one for one, taken in trials if taken.rate is None)


def _has_time(trials: Trials, limits: Limits) -> bool:
    """Return whether one more trial leaves the race its share, if it lasts as long as the others."""
    if limits.seconds is None:
        return True
    each = median(taken.seconds for _, taken in trials)
    return sum(taken.seconds for _, taken in trials) + each <= (1 - RACE_SHARE) * limits.seconds
