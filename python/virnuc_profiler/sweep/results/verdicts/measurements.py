# SPDX-License-Identifier: MIT
"""The measurements of each configuration that count, as costs and rates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.sweep_plan import Trial
from virnuc_profiler.targets.knobs.configuration import Configuration


@dataclass(frozen=True, slots=True)
class Measurements:
    """The measurements of one configuration that count.

    An interrupted one never counts. A throttled or doubtful one counts only where there is no other.

    Attributes:
        trials: The trials, in the order of their blocks.
        costs: Their costs by the objective.
    """

    trials: tuple[Trial, ...]
    costs: tuple[float, ...]

    @property
    def cost(self) -> float | None:
        """The geometric mean of the costs, since comparisons are made on logarithms; None without any."""
        return geometric_mean(self.costs)

    @property
    def speeds(self) -> tuple[float, ...]:
        """The reciprocals of the costs: larger is better, as comparisons of rates expect."""
        return tuple(1 / cost for cost in self.costs)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Reasons to repeat the trials that count."""
        return tuple(dict.fromkeys(reason for trial in self.trials for reason in trial.doubts))

    @property
    def middle(self) -> Trial:
        """The trial with the median cost, which stands for the configuration; the cheaper one of two."""
        ranked = sorted(zip(self.costs, range(len(self.costs)), strict=True))
        return self.trials[ranked[(len(ranked) - 1) // 2][1]]


def measurements_of(trials: Iterable[Trial], objective: Objective) -> Measurements:
    """Return what counts of the trials of one configuration.

    Args:
        trials: The trials that stand, one for each block and step.
        objective: What is minimized.
    """
    found = [
        (trial, cost)
        for trial in trials
        if trial.result.succeeded
        and not trial.result.interrupted
        and (cost := objective.cost(trial.result)) is not None
    ]
    sound = [(trial, cost) for trial, cost in found if not trial.result.throttled and not trial.doubts]
    chosen = sound or found
    return Measurements(tuple(trial for trial, _ in chosen), tuple(cost for _, cost in chosen))


def by_configuration(trials: Iterable[Trial]) -> dict[Configuration, list[Trial]]:
    """Return the trials that stand, by configuration: of several attempts in a block of a step, the last."""
    last: dict[tuple[Configuration, str, int], Trial] = {}
    for trial in trials:
        last[trial.configuration, trial.step, trial.block] = trial
    found: dict[Configuration, list[Trial]] = {}
    for trial in last.values():
        found.setdefault(trial.configuration, []).append(trial)
    return found


def counted_results(trials: Sequence[Trial]) -> list[Result]:
    """Return the results of a step that count: of several attempts the last, and no doubtful one beside a sound one.

    Args:
        trials: The trials of the step.
    """
    found = []
    for each in by_configuration(trials).values():
        sound = [trial for trial in each if not trial.doubts or not trial.result.succeeded]
        found += [trial.result for trial in sound or each]
    return found


def rate_of(result: Result) -> tuple[float | None, bool]:
    """Return the sequences per second that a prediction uses, and whether they are steady.

    Args:
        result: Result of a configuration.
    """
    if result.steady_sequences_per_sec is not None:
        return result.steady_sequences_per_sec, True
    rough = result.rough_sequences_per_sec
    return result.sequences_per_sec if rough is None else rough, False


def geometric_mean(values: Sequence[float]) -> float | None:
    """Return the geometric mean of positive numbers; None without any."""
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if values else None
