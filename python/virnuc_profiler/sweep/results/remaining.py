# SPDX-License-Identifier: MIT
"""What is left to measure of a sweep, for the run itself, its progress display and ``--dry-run``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.plan.steps import in_order, plan
from virnuc_profiler.sweep.results.from_journal import Documents
from virnuc_profiler.sweep.results.sweep_record import SweepRecord

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
    (configuration,) = plan(records[-1].plan.grid)["baseline"].configurations()
    there = (baseline is not None and baseline.succeeded and not baseline.interrupted) or records[-1].is_finished(
        "baseline", configuration, settings
    )
    return chosen if there else ("baseline", *chosen)


def remaining_trials(
    records: Sequence[SweepRecord], names: Sequence[str], settings: Mapping[str, Any]
) -> list[PlannedTrial]:
    """Return each trial to come, in order.

    Args:
        records: The folder's sweeps; the last is the one to run, under its current conditions.
        names: Names of the chosen steps.
        settings: Settings of the sweep, with today's time limits.
    """
    record = records[-1]
    steps = plan(record.plan.grid)
    found: list[PlannedTrial] = []
    for name in needed_steps(records, names, settings):
        if name == "validation":
            choice = None if found else Documents(records).choice()
            configurations: tuple[Configuration | None, ...] = (None if choice is None else choice.configuration,)
        else:
            configurations = steps[name].configurations()
        found += [(name, one) for one in configurations if one is None or not record.is_finished(name, one, settings)]
    return found
