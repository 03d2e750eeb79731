# SPDX-License-Identifier: MIT
"""A whole adaptive search on a function that measures, without a sweep's processes, journal and files.

The trials, the finalists, those that stay in the race, and the choice are those of a sweep; only the loop around them
is this module's own. A test holds that both choose the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from virnuc_profiler.analysis.confidence.paired import Comparison
from virnuc_profiler.analysis.confidence.race import Race
from virnuc_profiler.sweep.plan.cheapest import cheapest
from virnuc_profiler.sweep.search.adaptive import Limits, Measurement, Trials, finalists, next_trial
from virnuc_profiler.sweep.search.finals import affordable_finalists, nearly_best, staying
from virnuc_profiler.sweep.search.space import Space
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found.

    Attributes:
        configuration: The recommended configuration; None if nothing succeeded.
        comparison: Its comparison with the baseline, at the error of the whole race; None if there was none.
        leaders: Finalists that are not shown to be slower than another.
        finalists: Configurations that entered the race, the baseline among them.
        trials: The trials before the race.
        race_trials: Number of trials of the race.
        seconds: Time of all trials.
    """

    configuration: Configuration | None
    comparison: Comparison | None
    leaders: tuple[Configuration, ...]
    finalists: tuple[Configuration, ...]
    trials: Trials
    race_trials: int
    seconds: float


def search(
    space: Space,
    measure: Callable[[Configuration], Measurement],
    *,
    limits: Limits | None = None,
    seed: int = 0,
    baseline: Configuration = BASELINE,
) -> Found:
    """Search a space for the configuration with the highest rate.

    Args:
        space: The space of the search.
        measure: Measures one configuration.
        limits: When the search ends; None for the usual limits.
        seed: Random seed.
        baseline: Configuration that the recommended one is compared with.

    Raises:
        UsageError: The extra ``search`` is not installed.
    """
    limits = limits or Limits()
    trials: list[tuple[Configuration, Measurement]] = []
    while (one := next_trial(space, trials, limits=limits, seed=seed, baseline=baseline)) is not None:
        trials.append((one, measure(one)))
    chosen = [one for one in finalists(space, trials, limits.finalists, seed) if one != baseline]
    if limits.seconds is not None:
        used = [taken.seconds for _, taken in trials]
        chosen = chosen[: affordable_finalists(len(chosen), (limits.seconds - sum(used)) / median(used))]
    return _race(dict.fromkeys((baseline, *chosen)), trials, measure, limits, seed)


def _race(
    entrants: Iterable[Configuration],
    trials: Trials,
    measure: Callable[[Configuration], Measurement],
    limits: Limits,
    seed: int,
) -> Found:
    by_name = {one.run_id: one for one in entrants}
    race = Race(list(by_name), next(iter(by_name)), max_blocks=limits.max_blocks)
    order = random.Random(seed)
    rates_of: dict[Configuration, list[float]] = {one: [] for one in by_name.values()}
    seconds, count = sum(taken.seconds for _, taken in trials), 0
    each = median(taken.seconds for _, taken in trials)
    while not race.finished:
        names = list(race.running)
        rivals = {by_name[name]: rates_of[by_name[name]] for name in names if name != race.reference}
        names = [race.reference, *(one.run_id for one in staying(rivals, race.blocks))]
        if limits.seconds is not None and seconds + len(names) * each > limits.seconds:
            break
        order.shuffle(names)
        block = {name: measure(by_name[name]) for name in names}
        seconds, count = seconds + sum(taken.seconds for taken in block.values()), count + len(block)
        rates = {name: taken.rate for name, taken in block.items() if taken.rate is not None}
        if race.reference not in rates:
            break
        race.add_block(rates)
        for name, rate in rates.items():
            rates_of[by_name[name]].append(rate)
    leaders = tuple(by_name[name] for name in race.leaders()) if race.blocks else ()
    near = nearly_best({one: rates_of[one] for one in leaders})
    best = cheapest(near, {}) if near else next(iter(reversed(tuple(by_name.values()))), None)
    compared = best is not None and race.blocks > 0 and best.run_id != race.reference
    return Found(
        configuration=best,
        comparison=race.comparison(best.run_id) if best is not None and compared else None,
        leaders=leaders,
        finalists=tuple(by_name.values()),
        trials=tuple(trials),
        race_trials=count,
        seconds=seconds,
    )
