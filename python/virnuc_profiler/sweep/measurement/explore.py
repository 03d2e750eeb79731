# SPDX-License-Identifier: MIT
"""Runs the trials of an adaptive search, one after the other."""

from __future__ import annotations

from virnuc_profiler.sweep.measurement.listener import TrialRunner
from virnuc_profiler.sweep.measurement.trial_recorder import TrialRecorder
from virnuc_profiler.sweep.plan.steps import Step
from virnuc_profiler.sweep.results.search_trials import limits_of_search, space_of_search, trials_of_search
from virnuc_profiler.sweep.search.adaptive import next_trial
from virnuc_profiler.sweep.search.search_space import SearchSpace
from virnuc_profiler.targets.knobs.configuration import Configuration


def explore(
    recorder: TrialRecorder, step: Step, run: TrialRunner, *, space: SearchSpace, seed: int, baseline: Configuration
) -> None:
    """Measure what is left of a search before its race.

    Each trial follows from those in the journal, so a search that is resumed goes on where it was. It keeps the space
    that it has begun with, even if another amount of memory is free today.

    Args:
        recorder: Measures one configuration.
        step: The step of the search.
        run: Runs a trial.
        space: The space of a search that has not begun yet.
        seed: Seed of the search.
        baseline: Configuration of the baseline, which has been measured.

    Raises:
        UsageError: The extra ``search`` is not installed.
    """
    while True:
        record = recorder.journal.current
        trials = trials_of_search(record)
        configuration = next_trial(
            space_of_search(record) or space, trials, limits=limits_of_search(record), seed=seed, baseline=baseline
        )
        if configuration is None:
            break
        again = len(record.trials_of(step.name, configuration))
        recorder.measure(step, configuration, run, again)
