# SPDX-License-Identifier: MIT
"""The trials of an adaptive search as the journal has them: what the engine needs to go on, and to name finalists."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.plan.steps import SEARCH
from virnuc_profiler.sweep.results.sweep_plan import SweepPlan, Trial
from virnuc_profiler.sweep.results.sweep_record import SweepRecord
from virnuc_profiler.sweep.results.verdicts.race_replay import Allowance
from virnuc_profiler.sweep.search.adaptive import Limits, Measurement, finalists, goes_on
from virnuc_profiler.sweep.search.finals import FINALISTS, MAX_BLOCKS, trials_of_race
from virnuc_profiler.sweep.search.knob_space import CAPPED, build_knob_space, caps_of
from virnuc_profiler.sweep.search.search_space import SearchSpace
from virnuc_profiler.sweep.search.space import BUDGET_WITHOUT_FORECAST, build_space
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.targets.knobs.knob import IntegerKnob

_UNLIMITED: Final = 2.0
"""Allowance of a race without a limit, in times of what all of its blocks are expected to take."""
_OWN_SHARE: Final = 0.05
"""Share of the time of a limited search for what happens between its trials, such as its proposals."""
_VALIDATION_TRIALS: Final = 3
"""Trials for which a limited search leaves time, since the validation runs more sequences than they do."""


def trials_of_search(record: SweepRecord) -> list[tuple[Configuration, Measurement]]:
    """Return the trials of a search in their order, after the baseline.

    Args:
        record: The sweep.
    """
    baseline = record.last_trial("baseline", record.plan.planned_steps()["baseline"].base)
    standing = {(trial.configuration, trial.block): trial for trial in record.trials if trial.step == SEARCH}
    found = [*([] if baseline is None else [baseline]), *standing.values()]
    return [(trial.configuration, _measurement(trial, record.plan.objective)) for trial in found]


def space_of_search(record: SweepRecord) -> SearchSpace | None:
    """Return the space that a search has begun with, whose bounds its seeds name; None if it has not begun.

    Args:
        record: The sweep.
    """
    tried = [trial.configuration for trial in record.trials if trial.step == SEARCH]
    if not tried:
        return None
    knobs = record.plan.knobs
    if not knobs.is_builtin:
        caps = {name: max(one[name] for one in tried) for name in CAPPED if isinstance(knobs.get(name), IntegerKnob)}
        return build_knob_space(record.plan.planned_steps()[SEARCH].base, record.plan.grid, caps)
    return planned_space(record.plan, max(one.num_workers for one in tried), max(one.token_budget for one in tried))


def planned_space(plan: SweepPlan, workers: int, budget: int | None) -> SearchSpace:
    """Return the space of a sweep's workload.

    Args:
        plan: Plan of the sweep.
        workers: Most workers.
        budget: Most tokens of a batch that fit; None if that is not known.
    """
    workload = plan.workload
    if not plan.knobs.is_builtin:
        caps = caps_of(
            plan.knobs,
            workers=workers,
            fitting_tokens=budget,
            tokens=workload.tokens,
            num_sequences=workload.num_sequences,
        )
        return build_knob_space(plan.planned_steps()[SEARCH].base, plan.grid, caps)
    return build_space(
        workers=workers,
        largest_budget=BUDGET_WITHOUT_FORECAST if budget is None else budget,
        tokens=workload.tokens,
        num_sequences=workload.num_sequences,
        longest_tokens=workload.longest_tokens,
        precisions=tuple(str(value) for value in plan.grid.get("precision", ())),
    )


def limits_of_search(record: SweepRecord) -> Limits:
    """Return when a search ends, so that its sweep keeps its time.

    Args:
        record: The sweep.
    """
    budget_sec = record.plan.budget_sec
    if budget_sec is None:
        return Limits()
    own_sec = _OWN_SHARE * budget_sec
    return Limits(seconds=max(0.0, budget_sec - own_sec - _VALIDATION_TRIALS * seconds_of_trial(record)))


def seconds_of_trial(record: SweepRecord) -> float:
    """Return how long a trial of a search takes on average; 0 before the first.

    Args:
        record: The sweep.
    """
    seconds = [taken.seconds for _, taken in trials_of_search(record)]
    return sum(seconds) / len(seconds) if seconds else 0.0


def search_goes_on(record: SweepRecord) -> bool:
    """Return whether a search has another trial before its race.

    Args:
        record: The sweep.
    """
    return goes_on(trials_of_search(record), limits_of_search(record))


def allowance_of_search(record: SweepRecord, contenders: int) -> Allowance:
    """Return the time that the race may take: what the search has left of its own.

    Args:
        record: The sweep.
        contenders: Number of configurations in the race.
    """
    limits, each = limits_of_search(record), seconds_of_trial(record)
    if limits.seconds is None:
        return Allowance(_UNLIMITED * each * trials_of_race(contenders, MAX_BLOCKS), each)
    return Allowance(max(0.0, limits.seconds - sum(taken.seconds for _, taken in trials_of_search(record))), each)


def finalists_of_search(record: SweepRecord, allowed: Iterable[Configuration]) -> tuple[Configuration, ...]:
    """Return the configurations that enter the race, the most promising first; none before anything has succeeded.

    Args:
        record: The sweep.
        allowed: Configurations that keep what is required of the best one.
    """
    space = space_of_search(record)
    if space is None:
        return ()
    return _finalists(space, tuple(trials_of_search(record)), record.plan.seed, tuple(allowed))


@lru_cache(maxsize=4)
def _finalists(
    space: SearchSpace,
    trials: tuple[tuple[Configuration, Measurement], ...],
    seed: int,
    allowed: tuple[Configuration, ...],
) -> tuple[Configuration, ...]:
    """Return the finalists; a race asks for them before each of its trials."""
    return finalists(space, trials, FINALISTS, seed, allowed)


def _measurement(trial: Trial, objective: Objective) -> Measurement:
    cost = objective.cost(trial.result) if trial.result.succeeded and not trial.result.interrupted else None
    seconds = trial.took_sec if trial.took_sec is not None else trial.result.elapsed_sec or 0.0
    return Measurement(None if not cost else 1 / cost, seconds)
