# SPDX-License-Identifier: MIT
"""Options of a sweep that searches instead of measuring grids, and the space of its search."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.cli.options.arguments import number
from virnuc_profiler.errors import UsageError
from virnuc_profiler.sweep.plan.estimate import in_words
from virnuc_profiler.sweep.plan.steps import SEARCH, SEARCH_STEPS, Grid, steps_of_target
from virnuc_profiler.targets.knobs.configuration import KnobSet

if TYPE_CHECKING:
    from virnuc_profiler.sweep.results.sweep_plan import SweepPlan
    from virnuc_profiler.sweep.search.search_space import SearchSpace
    from virnuc_profiler.sweep.trial.loaded_model import LoadedModel

GRID: Final = "grid"
ADAPTIVE: Final = "adaptive"
_IDLE: Final = ("steps", "repeats")


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Add the options.

    Args:
        parser: Parser of ``sweep``.
    """
    group = parser.add_argument_group("search")
    group.add_argument(
        "--search", choices=(GRID, ADAPTIVE), default=GRID,
        help="measure grids in steps, or let a model of the rates propose trials from the whole space and race the "
        f"best of them; needs the extra 'search' (default: {GRID})",
    )  # fmt: skip
    group.add_argument(
        "--budget-minutes", type=number(above=0), metavar="M",
        help="with --search adaptive: minutes for all trials, from the first to the validation (default: no limit)",
    )  # fmt: skip


def steps_of_search(
    arguments: argparse.Namespace, given: Mapping[str, Any], grid: Grid, knobs: KnobSet
) -> Sequence[str]:
    """Return the names of the steps that the options ask for.

    Args:
        arguments: All options.
        given: Options that were given, by name.
        grid: Lists of values.
        knobs: Knobs of the target.

    Raises:
        UsageError: Options have no effect together, a step is not one of the target's, or the extra ``search`` is not
            installed.
    """
    if arguments.search == GRID:
        if SEARCH in arguments.steps:
            raise UsageError(f"--steps {SEARCH} needs --search {ADAPTIVE}, which chooses its steps by itself")
        if "budget_minutes" in given:
            raise UsageError(f"--budget-minutes has no effect without --search {ADAPTIVE}: add it, or leave it out")
        usual = steps_of_target(knobs)
        names: Sequence[str] = given.get("steps", usual)
        for name in names:
            if name not in usual:
                raise UsageError(f"step {name!r} does not exist for {knobs.target}; the steps are {', '.join(usual)}")
        return names
    whole = [name for name in grid if knobs.is_builtin and not knobs[name].needs_new_model]
    for name in (*_IDLE, *whole):
        if name in given:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} has no effect with --search {ADAPTIVE}, which explores the whole space")
    from virnuc_profiler.sweep.search.proposals import require_optuna

    require_optuna()
    return SEARCH_STEPS


def space_of_sweep(plan: SweepPlan, model: LoadedModel | None) -> SearchSpace:
    """Return the space of a sweep's search on this machine.

    Args:
        plan: Plan of the sweep.
        model: The loaded model, which knows the largest budget that fits; None before it is loaded.

    Raises:
        UsageError: Every knob has one value.
    """
    from virnuc_profiler.capture.cpu_limits import cpu_limits
    from virnuc_profiler.sweep.results.search_trials import planned_space

    fitting = None if model is None else model.largest_budget
    space = planned_space(plan, int(cpu_limits().usable_cores or 1), fitting)
    if not space.axes:
        raise UsageError(f"nothing is left to search: every knob of {plan.knobs.target} has one value")
    return space


def describe_search(plan: SweepPlan, space: SearchSpace, *, budget_known: bool) -> Iterator[str]:
    """Yield lines that say what a search explores, and in how many trials.

    Args:
        plan: Plan of the sweep.
        space: Its space.
        budget_known: Whether the largest budget is known, since the model is loaded or runs on the CPU.
    """
    from virnuc_profiler.sweep.search.adaptive import TRIALS
    from virnuc_profiler.sweep.search.finals import FINALISTS, MAX_BLOCKS, trials_of_race

    yield f"search: {_ranges(plan.knobs, space, budget_known)}"
    yield (
        f"  at most {TRIALS} short trials, then a race of {FINALISTS} finalists and the baseline in at most "
        f"{MAX_BLOCKS} blocks, at most {trials_of_race(FINALISTS, MAX_BLOCKS)} trials"
    )
    if plan.budget_sec is not None:
        yield f"  all trials within {in_words(plan.budget_sec)}"


def _ranges(knobs: KnobSet, space: SearchSpace, budget_known: bool) -> str:
    """Return the range of each knob, in words."""
    from virnuc_profiler.sweep.search.search_space import is_ladder
    from virnuc_profiler.sweep.search.space import Space

    axes = space.axes
    if isinstance(space, Space):
        top = f"{axes['token_budget'][-1]:,}" if budget_known else "the largest that the memory forecast lets fit"
        return (
            f"{axes['num_workers'][0]} to {axes['num_workers'][-1]} workers, prefetch {axes['prefetch_factor'][0]} "
            f"to {axes['prefetch_factor'][-1]}, budgets {axes['token_budget'][0]:,} to {top}, buffers up to "
            f"{space.max_buffer:,}"
        )
    ranges = []
    for name, levels in axes.items():
        texts = [knobs[name].text(level) for level in levels]
        climbed = is_ladder(levels) and len(levels) > 2
        ranges.append(f"{name} {f'{texts[0]} to {texts[-1]}' if climbed else ', '.join(texts)}")
    return "; ".join(ranges)


def time_of_race(names: Sequence[str]) -> str:
    """Return what the confirmation adds to an estimate, whose number of trials is not known before; empty if nothing.

    Args:
        names: Names of the steps.
    """
    if "confirmation" not in names:
        return ""
    if SEARCH in names:
        return ", and at most five times as much for the race"
    return ", and for the confirmation at most a third of the time of all steps before it"
