# SPDX-License-Identifier: MIT
"""What is left to measure of a sweep, for the run itself, its progress display and ``--dry-run``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from virnuc_profiler.sweep.plan.steps import SEARCH, Step, in_order
from virnuc_profiler.sweep.results.from_journal import Documents
from virnuc_profiler.sweep.results.search_trials import search_goes_on, trials_of_search
from virnuc_profiler.sweep.results.sweep_record import SweepRecord
from virnuc_profiler.sweep.search.adaptive import TRIALS
from virnuc_profiler.targets.knobs.configuration import Configuration

PlannedTrial = tuple[str, Configuration | None]
"""Step and configuration of a trial; None for the best configuration where that is not known yet."""


def needed_steps(records: Sequence[SweepRecord], names: Sequence[str], settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the chosen steps in their order, after the baseline if there is none to compare with.

    Args:
        records: The folder's sweeps; the last is the one to run, under its current conditions.
        names: Names of the chosen steps.
        settings: Settings of the sweep, with today's time limits.
    """
    chosen = in_order(names)
    if "baseline" in chosen:
        return chosen
    baseline = Documents(records).baseline()
    configuration = records[-1].plan.planned_steps()["baseline"].base
    there = (baseline is not None and baseline.succeeded and not baseline.interrupted) or records[-1].is_finished(
        "baseline", configuration, settings
    )
    return chosen if there else ("baseline", *chosen)


def remaining_trials(
    records: Sequence[SweepRecord], names: Sequence[str], settings: Mapping[str, Any]
) -> list[PlannedTrial]:
    """Return each trial to come, in order, but for those of the confirmation, whose number depends on what they show.

    Args:
        records: The folder's sweeps; the last is the one to run, under its current conditions.
        names: Names of the chosen steps.
        settings: Settings of the sweep, with today's time limits.
    """
    record = records[-1]
    steps = record.plan.planned_steps()
    repeats = record.plan.repeats
    found: list[PlannedTrial] = []
    for name in needed_steps(records, names, settings):
        if name == "validation":
            choice = None if found else Documents(records).choice()
            best = None if choice is None else choice.configuration
            if best is None or not record.is_finished(name, best, settings):
                found.append((name, best))
        if name == SEARCH and search_goes_on(record):
            found += [(name, None)] * max(1, TRIALS - max(1, len(trials_of_search(record))))
        for block in range(repeats):
            left = configurations_of_block(steps[name], steps["baseline"].base, repeats)
            found += [(name, one) for one in left if not record.is_finished(name, one, settings, block)]
    return found


def is_confirmation_left(records: Sequence[SweepRecord], names: Sequence[str], trials: Sequence[PlannedTrial]) -> bool:
    """Return whether a confirmation may still measure something; it has ended, or has no time, once nothing is left.

    Args:
        records: The folder's sweeps; the last is the one to run, under its current conditions.
        names: Names of the chosen steps.
        trials: The other trials to come, as :func:`remaining_trials` returns them.
    """
    if "confirmation" not in names:
        return False
    return any(name != "validation" for name, _ in trials) or not Documents(records).confirmation_document().complete


def configurations_of_block(step: Step, baseline: Configuration, repeats: int) -> tuple[Configuration, ...]:
    """Return what each block of a step measures: its grid, and the baseline if there are several blocks.

    Args:
        step: The step.
        baseline: Configuration of the baseline.
        repeats: Number of blocks.
    """
    grid = step.configurations()
    return grid if repeats == 1 or step.follows or baseline in grid else (baseline, *grid)
