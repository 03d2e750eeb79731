# SPDX-License-Identifier: MIT
"""The adaptive search: short trials where they tell most, then a race of the finalists. Pure.

Half of the trials go where Optuna expects an improvement, the other half where the surrogate expects the highest rate.
The latter repeats a configuration that leads by one reading, and so unmasks it if it was luck. With few noisy trials,
such greed does as well as more careful rules or better (De Ath and others 2021). No single reading decides: the
finalists are chosen from the surrogate, measured again in blocks, and judged by those measurements alone.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Final

from virnuc_profiler.analysis.confidence.paired import Comparison
from virnuc_profiler.analysis.confidence.race import Race
from virnuc_profiler.sweep.plan.configuration import BASELINE, Configuration
from virnuc_profiler.sweep.search.proposals import propose
from virnuc_profiler.sweep.search.space import Space
from virnuc_profiler.sweep.search.surrogate import Surrogate

TRIALS: Final = 16
FINALISTS: Final = 4
MAX_BLOCKS: Final = 10
THRESHOLD: Final = 0.02
RACE_SHARE: Final = 0.5
"""Share of the time that is kept for the race."""
_MIN_BLOCKS: Final = 3
_TIED: Final = 0.005
"""A cheaper finalist is chosen if its rate in the race is at most this much lower. It is well below the threshold, since
the race's means have errors of their own."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What came of one trial.

    Attributes:
        rate: Work per second; None if the configuration failed.
        seconds: Time that passed since the previous trial ended, of whatever kind.
    """

    rate: float | None
    seconds: float


Measure = Callable[[Configuration], Measurement]


@dataclass(frozen=True, slots=True)
class Limits:
    """When a search ends.

    Attributes:
        trials: Most trials before the race, the baseline among them.
        finalists: Number of configurations in the race, beside the baseline.
        max_blocks: Most blocks of the race.
        seconds: Time for all trials; None for no limit.
    """

    trials: int = TRIALS
    finalists: int = FINALISTS
    max_blocks: int = MAX_BLOCKS
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found.

    Attributes:
        configuration: The recommended configuration; None if none was measured.
        comparison: Its comparison with the baseline, at the error of the whole race; None if there was no race.
        tied: Finalists that are not shown to be slower than the best, the recommended one among them.
        trials: Every trial before the race, in order.
        blocks: Blocks of the race; each has the measurements of those that ran in it.
        seconds: Time of all trials.
        out_of_time: Whether the time limit ended the search early.
    """

    configuration: Configuration | None
    comparison: Comparison | None
    tied: tuple[Configuration, ...]
    trials: tuple[tuple[Configuration, Measurement], ...]
    blocks: tuple[dict[Configuration, Measurement], ...]
    seconds: float
    out_of_time: bool


def search(
    space: Space, measure: Measure, *, limits: Limits = Limits(), seed: int = 0, baseline: Configuration = BASELINE
) -> Found:
    """Search a space for the configuration with the highest rate.

    Everything follows from the measurements and the seed. A search that is begun again and gets the same measurements
    asks for the same trials, so finished trials can be replayed.

    Args:
        space: The space of the search.
        measure: Measures one configuration.
        limits: When the search ends.
        seed: Random seed.
        baseline: Configuration that the recommended one is compared with.

    Raises:
        UsageError: The extra ``search`` is not installed.
    """
    run = _Run(space, measure, limits, seed, baseline)
    for configuration in run.exploration():
        run.measure(configuration)
    return run.race()


@dataclass
class _Run:
    """One search in progress."""

    space: Space
    take: Measure
    limits: Limits
    seed: int
    baseline: Configuration
    trials: list[tuple[Configuration, Measurement]] = field(default_factory=list)
    seconds: float = 0.0
    out_of_time: bool = False

    def exploration(self) -> Iterator[Configuration]:
        """Yield the trials before the race: the baseline, the seeds, and proposals."""
        first = tuple(dict.fromkeys((self.baseline, *self.space.seeds())))
        for number in range(self.limits.trials):
            if not self._has_time(1, 1 - RACE_SHARE) and number >= _MIN_BLOCKS:
                self.out_of_time = True
                return
            yield first[number] if number < len(first) else self._next(greedy=number % 2 == 0)

    def measure(self, configuration: Configuration) -> None:
        """Measure a trial before the race."""
        taken = self.take(configuration)
        self.seconds += taken.seconds
        self.trials.append((configuration, taken))

    def race(self) -> Found:
        """Race the finalists against each other and the baseline, and choose."""
        finalists = self._finalists()
        by_name = {one.run_id: one for one in dict.fromkeys((self.baseline, *finalists))}
        race = Race(
            list(by_name), self.baseline.run_id, threshold=THRESHOLD, min_blocks=_MIN_BLOCKS, max_blocks=self.limits.max_blocks
        )
        order = random.Random(self.seed)
        blocks: list[dict[Configuration, Measurement]] = []
        while not race.finished:
            names = list(race.running)
            if not self._has_time(len(names), 1.0):
                self.out_of_time = True
                break
            order.shuffle(names)
            block = {by_name[name]: self.take(by_name[name]) for name in names}
            self.seconds += sum(taken.seconds for taken in block.values())
            blocks.append(block)
            rates = {one.run_id: taken.rate for one, taken in block.items() if taken.rate is not None}
            if race.reference not in rates:
                break
            race.add_block(rates)
        return self._found(race, by_name, blocks)

    def _found(
        self, race: Race, by_name: dict[str, Configuration], blocks: list[dict[Configuration, Measurement]]
    ) -> Found:
        tied = [by_name[name] for name in race.leaders()] if race.blocks else []
        means = {one: fmean(math.log(block[one].rate or 1) for block in blocks[: race.blocks]) for one in tied}
        chosen = None
        if means:
            floor = max(means.values()) - _TIED
            chosen = min((one for one, mean in means.items() if mean >= floor), key=_cost)
        elif self._observations():
            chosen = self._finalists()[0]
        return Found(
            chosen,
            race.comparison(chosen.run_id) if chosen is not None and race.blocks and chosen != self.baseline else None,
            tuple(sorted(tied, key=lambda one: -means[one])),
            tuple(self.trials),
            tuple(blocks),
            self.seconds,
            self.out_of_time,
        )

    def _next(self, *, greedy: bool) -> Configuration:
        observations = self._observations()
        if not observations:
            return self.baseline
        if greedy:
            return Surrogate(self.space, observations).best(self._failed())
        proposed = propose(self.space, observations, self.seed)
        return Surrogate(self.space, observations).best(self._failed()) if proposed in self._failed() else proposed

    def _finalists(self) -> tuple[Configuration, ...]:
        observations = self._observations()
        if not observations:
            return ()
        surrogate = Surrogate(self.space, observations)
        return surrogate.finalists(self.limits.finalists, self.seed, self._failed())

    def _observations(self) -> list[tuple[Configuration, float]]:
        return [(one, math.log(taken.rate)) for one, taken in self.trials if taken.rate is not None]

    def _failed(self) -> tuple[Configuration, ...]:
        return tuple(one for one, taken in self.trials if taken.rate is None)

    def _has_time(self, trials: int, share: float) -> bool:
        """Whether so many more trials fit into a share of the time, if they last as long as the others."""
        if self.limits.seconds is None or not self.trials:
            return True
        each = median(taken.seconds for _, taken in self.trials)
        return self.seconds + trials * each <= share * self.limits.seconds


def _cost(configuration: Configuration) -> tuple[int, int, int, int]:
    """Return what a configuration takes of the machine, cheapest first: workers, then memory of device and host."""
    return (
        configuration.num_workers,
        configuration.token_budget,
        configuration.buffer_size,
        configuration.prefetch_factor,
    )
