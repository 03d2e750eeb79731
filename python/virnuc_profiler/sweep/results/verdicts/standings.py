# SPDX-License-Identifier: MIT
"""The standing of each configuration of a step.

Where a step has blocks, configurations are compared within blocks, so that drift hits all alike. Where each was
measured once, the noise comes from those that several steps have measured, above all the baseline; that gives each
speedup an interval, but proves no difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.results.sweep_record import Trial
from virnuc_profiler.sweep.results.verdicts.measurements import (
    Measurements,
    by_configuration,
    geometric_mean,
    measurements_of,
    rate_of,
)
from virnuc_profiler.sweep.results.verdicts.standing import Standing
from virnuc_profiler.telemetry.rates import ratio

THRESHOLD = 0.02
"""Smallest difference that matters in practice, as a share of the cost."""

CONFIDENCE = 0.95
"""Probability with which all verdicts of a table, or of a confirmation, hold at once."""


class StepStandings:
    """The standings of the configurations of a step.

    Args:
        own: Trials of the step, its baseline among them where the step has blocks.
        others: Trials of other steps on the same workload under the same conditions, up to the end of this step.
        baseline: Configuration that speedups refer to; None if there is none.
        objective: What is minimized.
    """

    def __init__(
        self, own: Sequence[Trial], others: Sequence[Trial], baseline: Configuration | None, objective: Objective
    ) -> None:
        self._in_blocks = any(trial.block for trial in own)
        counted = own if self._in_blocks else [*others, *own]
        found = {config: measurements_of(trials, objective) for config, trials in by_configuration(counted).items()}
        self._measured = {config: each for config, each in found.items() if each.costs}
        self._own = {trial.configuration for trial in own}
        self._baseline = baseline if baseline in self._measured else None

    def measured(self, configuration: Configuration) -> Measurements | None:
        """Return what counts of a configuration; None if nothing does."""
        return self._measured.get(configuration)

    def standings(self, best: Configuration | None = None) -> dict[Configuration, Standing]:
        """Return the standing of each configuration of the step that has a cost.

        Args:
            best: Configuration that ties are told from; None to leave that open.
        """
        beside_baseline = self._compared_with(self._baseline)
        beside_best = self._compared_with(best if best in self._measured else None)
        return {
            config: self._standing(config, beside_baseline, beside_best, best)
            for config in self._measured
            if config in self._own
        }

    def _standing(
        self,
        configuration: Configuration,
        beside_baseline: Mapping[Configuration, _Compared],
        beside_best: Mapping[Configuration, _Compared],
        best: Configuration | None,
    ) -> Standing:
        measured = self._measured[configuration]
        standing = replace(
            _rates(measured.trials if self._in_blocks else measured.trials[-1:]),
            measurements=len(measured.costs),
            cost=measured.cost,
            doubts=measured.doubts,
        )
        if self._baseline is not None:
            standing = replace(standing, speedup=ratio(self._measured[self._baseline].cost, measured.cost))
        if (compared := beside_baseline.get(configuration)) is not None:
            standing = replace(
                standing,
                speedup=compared.ratio,
                speedup_low=compared.low,
                speedup_high=compared.high,
                verdict=compared.verdict if self._in_blocks else None,
            )
        if configuration == best:
            return replace(standing, tied=True)
        if (compared := beside_best.get(configuration)) is not None and compared.high is not None:
            return replace(standing, tied=compared.high >= 1 or (compared.ratio or 0.0) >= 1 - THRESHOLD)
        return standing
