# SPDX-License-Identifier: MIT
"""The standing of each configuration of a step.

Where a step has blocks, configurations are compared within blocks, so that drift hits all equally. Where each was
measured once, the noise comes from those that several steps have measured, above all the baseline; that gives each
speedup an interval, but proves no difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from virnuc_profiler.analysis.confidence.noise import compare_with_reference
from virnuc_profiler.analysis.confidence.paired import Comparison, compare_blocks
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.plan.steps import SEARCH
from virnuc_profiler.sweep.results.sweep_plan import Trial
from virnuc_profiler.sweep.results.verdicts.measurements import (
    Measurements,
    by_configuration,
    geometric_mean,
    measurements_of,
    rate_of,
)
from virnuc_profiler.sweep.results.verdicts.standing import Standing
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.rates import ratio

THRESHOLD: Final = 0.02
"""Smallest difference that matters in practice, as a share of the cost."""

WIDEST: Final = 4.0
"""Ratio of the ends of the widest interval that says something."""

CONFIDENCE: Final = 0.95
"""Probability with which all verdicts of a table, or of a confirmation, hold at once."""


class StepStandings:
    """The standings of the configurations of a step.

    Args:
        own: Trials of the step, its baseline among them where the step has blocks.
        others: Trials of other steps on the same workload under the same conditions, up to the end of this step.
        baseline: Configuration that speedups refer to; None if there is none.
        objective: What is minimized.

    Attributes:
        in_blocks: Whether the step has measured in more than one block; a search repeats trials, but not in blocks.
    """

    def __init__(
        self, own: Sequence[Trial], others: Sequence[Trial], baseline: Configuration | None, objective: Objective
    ) -> None:
        self._objective = objective
        self.in_blocks = any(trial.block for trial in own if trial.step != SEARCH)
        counted = own if self.in_blocks else [*others, *own]
        found = {config: measurements_of(trials, objective) for config, trials in by_configuration(counted).items()}
        self._measured = {config: each for config, each in found.items() if each.costs}
        self._configurations = tuple(dict.fromkeys(trial.configuration for trial in own))
        self._baseline = baseline if baseline in self._measured else None

    def measured(self, configuration: Configuration) -> Measurements | None:
        """Return what counts of a configuration; None if nothing does."""
        return self._measured.get(configuration)

    def standings(self) -> dict[Configuration, Standing]:
        """Return the standing of each configuration of the step that has a cost, without intervals of speedups."""
        return {config: self._standing(config) for config in self._configurations if config in self._measured}

    def compared(self, best: Configuration | None) -> dict[Configuration, Standing]:
        """Return the standings with intervals of their speedups and with ties.

        Args:
            best: The best configuration of the step; None to leave ties open.
        """
        beside_baseline, beside_best = self._compared_with(self._baseline), self._compared_with(best)
        found = self.standings()
        for config, standing in found.items():
            if (one := beside_baseline.get(config)) is not None:
                verdict = one.verdict if self.in_blocks else None
                standing = replace(
                    standing, speedup=one.ratio, speedup_low=one.low, speedup_high=finite(one.high), verdict=verdict
                )
            if config == best:
                standing = replace(standing, tied=True)
            elif (one := beside_best.get(config)) is not None:
                standing = replace(standing, tied=_is_tied(one))
            found[config] = standing
        return found

    def of_baseline(self) -> Standing | None:
        """Return the standing of the baseline that speedups refer to; None without any."""
        return None if self._baseline is None else self._standing(self._baseline)

    def _standing(self, configuration: Configuration) -> Standing:
        measured = self._measured[configuration]
        rates = [rate_of(trial.result) for trial in measured.trials]
        known = _known(rate for rate, _ in rates)
        low, high = _interval(measured.trials, known) if self.in_blocks or len(known) == 1 else (None, None)
        baseline = None if self._baseline is None else self._measured[self._baseline].cost
        return Standing(
            measurements=len(measured.costs),
            blocks=len(measured.trials) if self.in_blocks else 1,
            cost=measured.cost,
            predicted_sec=geometric_mean(
                _known(self._objective.predicted_sec(trial.result) for trial in measured.trials)
            ),
            rate=geometric_mean(known),
            rate_low=low,
            rate_high=high,
            steady=all(steady for _, steady in rates),
            speedup=ratio(baseline, measured.cost),
            doubts=measured.doubts,
        )

    def _compared_with(self, reference: Configuration | None) -> Mapping[Configuration, Comparison]:
        """Return the comparison of each other configuration with one, all at the error of the whole table."""
        if reference is None or reference not in self._measured:
            return {}
        others = [config for config in self._configurations if config in self._measured and config != reference]
        if self.in_blocks:
            return {config: self._paired(config, reference, tests=len(others)) for config in others}
        repeated = [config for config, each in self._measured.items() if len(each.costs) > 1]
        speeds = {config.run_id: self._measured[config].speeds for config in (reference, *others, *repeated)}
        found = compare_with_reference(speeds, reference.run_id, threshold=THRESHOLD, confidence=CONFIDENCE)
        return {config: found[config.run_id] for config in others}

    def _paired(self, configuration: Configuration, reference: Configuration, *, tests: int) -> Comparison:
        ours, theirs = (
            {trial.block: speed for trial, speed in zip(each.trials, each.speeds, strict=True)}
            for each in (self._measured[configuration], self._measured[reference])
        )
        both = sorted(ours.keys() & theirs.keys())
        return compare_blocks(
            [ours[block] for block in both],
            [theirs[block] for block in both],
            threshold=THRESHOLD,
            confidence=CONFIDENCE,
            tests=max(1, tests),
        )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value]


def _is_tied(found: Comparison) -> bool | None:
    """Return whether two are not told apart, or differ by too little to matter; None if noise is unknown, or hides all.

    Either may be the better one, because the best of a step may be chosen for its packing.
    """
    if found.ratio is None or found.low is None or found.high is None or not says_something(found.low, found.high):
        return None
    return found.low <= 1 <= found.high or abs(found.ratio - 1) <= THRESHOLD


def says_something(low: float | None, high: float | None) -> bool:
    """Return whether an interval is known and narrow enough to say something."""
    return low is not None and high is not None and low > 0 and high / low <= WIDEST


def finite(value: float | None) -> float | None:
    """Return a number, or None for the infinite end of an interval, which JSON cannot hold."""
    return None if value is None or math.isinf(value) else value


def _interval(trials: Sequence[Trial], rates: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the interval of a rate: of a single run from its batches, of several from how they differ."""
    if len(rates) > 1:
        mean = compare_blocks(rates, [1.0] * len(rates), confidence=CONFIDENCE)
        return mean.low, finite(mean.high)
    if not rates:
        return None, None
    return interval_of_trial(trials[0])


def interval_of_trial(trial: Trial) -> tuple[float | None, float | None]:
    """Return the interval of the steady rate of one trial in sequences per second; None where it is not known.

    Args:
        trial: The trial.
    """
    result = trial.result
    interval, steady = result.interval, result.steady_sequences_per_sec
    if interval is None or not interval.rate or steady is None or interval.low is None or interval.high is None:
        return None, None
    scale = steady / interval.rate  # from tokens to sequences
    return scale * interval.low, scale * interval.high
