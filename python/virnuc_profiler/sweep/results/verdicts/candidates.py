# SPDX-License-Identifier: MIT
"""The configurations of all steps that are safe, and the best of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from virnuc_profiler.analysis.selection import CONTAMINATED, select_best
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.results.result import ENVIRONMENT, Result
from virnuc_profiler.sweep.results.verdicts.confirmation import Contenders
from virnuc_profiler.sweep.results.verdicts.measurements import rate_of
from virnuc_profiler.sweep.results.verdicts.pareto import Tradeoff
from virnuc_profiler.sweep.results.verdicts.standings import THRESHOLD
from virnuc_profiler.targets.knobs.configuration import Configuration

_BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration that succeeded every time it was measured.

    Attributes:
        configuration: The configuration.
        costs: Costs by the objective, one for each measurement.
        rates: Sequences per second, one for each measurement: steady, or of the whole run without a steady rate.
        predicted_sec: Median of the predicted seconds of the job; None if it has no rate.
        joules_per_sequence: Median energy of a sequence; None if it was not measured.
        packing_efficiency: Median packing efficiency; None if it was not measured.
        peak_memory_gb: Largest peak of device memory in GB; None if it was not measured.
        found_in: Names of the steps that measured it.
        throttled: Whether the device was held down in every measurement. Such a candidate wins only among its like.
    """

    configuration: Configuration
    costs: tuple[float, ...]
    rates: tuple[float, ...]
    predicted_sec: float | None
    joules_per_sequence: float | None
    packing_efficiency: float | None
    peak_memory_gb: float | None
    found_in: tuple[str, ...]
    throttled: bool = False

    @property
    def succeeded(self) -> bool:
        """True, since only configurations that succeeded are candidates."""
        return True

    @property
    def interrupted(self) -> bool:
        """False, since interrupted measurements do not count."""
        return False

    @property
    def sequences_per_sec(self) -> float | None:
        """The median of the rates."""
        return median(self.rates) if self.rates else None

    @property
    def cost(self) -> float:
        """The median of the costs: the luckiest of four would favor what was measured four times."""
        return median(self.costs)

    @property
    def spread(self) -> float:
        """The difference between the highest and the lowest cost, over their median."""
        return (max(self.costs) - min(self.costs)) / self.cost

    @property
    def tradeoff(self) -> Tradeoff:
        """What it costs in time, energy and memory."""
        return Tradeoff(self.configuration, self.predicted_sec, self.joules_per_sequence, self.peak_memory_gb)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The candidates of a sweep.

    Attributes:
        best: The best of them; None if there is none.
        constraint_met: Whether the best keeps the required packing efficiency and the limit of memory.
        is_fallback: Whether the best is the baseline, chosen although others keep the constraint, because they are
            worse.
        rivals: The candidates that the best was chosen from, itself among them.
        safe: All candidates.
        failed: Number of configurations that failed at least once.
        baseline: Configuration of the baseline; None if it was not measured.
    """

    best: Candidate | None
    constraint_met: bool
    is_fallback: bool
    rivals: tuple[Candidate, ...]
    safe: tuple[Candidate, ...]
    failed: int
    baseline: Configuration | None

    @property
    def contenders(self) -> Contenders | None:
        """The best, the next one that keeps the constraint, and the baseline; None without a best."""
        if self.best is None:
            return None
        configurations = {one.configuration for one in self.safe}
        baseline = self.baseline if self.baseline in configurations else None
        others = [one for one in self.rivals if one.configuration not in (self.best.configuration, baseline)]
        runner_up = min(others, key=lambda one: one.cost, default=None)
        return Contenders(self.best.configuration, None if runner_up is None else runner_up.configuration, baseline)

    @property
    def memory_gb(self) -> dict[Configuration, float | None]:
        """Peak device memory of each candidate in GB."""
        return {one.configuration: one.peak_memory_gb for one in self.safe}


def rank(steps: Mapping[str, Iterable[Result]], objective: Objective, failed_later: Iterable[Result] = ()) -> Ranking:
    """Rank the configurations of all steps.

    Several steps measure the same configuration, so each counts with the median of its measurements. A configuration
    that failed anywhere is not safe, and does not count. What is worse than the baseline by more than the threshold is
    never the best.

    Args:
        steps: Results by the name of their step.
        objective: What is minimized, and what the best must keep if a candidate does.
        failed_later: Results of steps that do not rank, such as the confirmation: a failure there counts.
    """
    measured: dict[Configuration, list[tuple[str, Result]]] = {}
    for step, results in steps.items():
        for result in results:
            if not _says_nothing(result):
                measured.setdefault(result.configuration, []).append((step, result))
    unsafe = {one.configuration for one in failed_later if not one.succeeded and not _says_nothing(one)}
    safe = [
        _candidate(configuration, entries, objective)
        for configuration, entries in measured.items()
        if configuration not in unsafe
        and all(result.succeeded and objective.cost(result) is not None for _, result in entries)
    ]
    min_packing = objective.required_packing
    selected = select_best(
        safe, min_packing, cost=lambda one: one.cost, fits=lambda one: objective.fits(one.peak_memory_gb)
    )
    best, met, fallback = selected.best, selected.constraint_met, False
    baselines = [result.configuration for result in steps.get(_BASELINE, ())]
    if best is None:
        return Ranking(None, False, False, (), tuple(safe), len(measured) - len(safe), next(iter(baselines), None))
    rivals = [one for one in safe if one.throttled == best.throttled]
    for baseline in (one for one in rivals if one.configuration in baselines and objective.fits(one.peak_memory_gb)):
        if baseline.cost * (1 + THRESHOLD) < best.cost:  # it lost for its packing alone; less would be luck
            best, met, fallback = baseline, False, True
    if met:
        rivals = [one for one in rivals if packs(one, min_packing) and objective.fits(one.peak_memory_gb)]
    return Ranking(
        best, met, fallback, tuple(rivals), tuple(safe), len(measured) - len(safe), next(iter(baselines), None)
    )


def packs(candidate: Candidate, min_packing: float | None) -> bool:
    """Return whether a candidate reaches a packing efficiency.

    Args:
        candidate: The candidate.
        min_packing: Required packing efficiency; None if any will do.
    """
    if min_packing is None:
        return True
    return candidate.packing_efficiency is not None and candidate.packing_efficiency >= min_packing


def _says_nothing(result: Result) -> bool:
    """Return whether a result says nothing of its configuration, neither good nor bad."""
    return result.reason in (CONTAMINATED, ENVIRONMENT) or result.interrupted


def _candidate(configuration: Configuration, entries: Sequence[tuple[str, Result]], objective: Objective) -> Candidate:
    cool = [(step, result) for step, result in entries if not result.throttled]
    counted = cool or entries
    results = [result for _, result in counted]
    timed = replace(objective, kind="time")
    return Candidate(
        configuration,
        costs=_known(objective.cost(result) for result in results),
        rates=_known(rate_of(result)[0] for result in results),
        predicted_sec=_median(timed.cost(result) for result in results),
        joules_per_sequence=_median(result.joules_per_sequence for result in results),
        packing_efficiency=_median(result.packing_efficiency for result in results),
        peak_memory_gb=max(_known(result.peak_memory_gb for _, result in entries), default=None),
        found_in=tuple(dict.fromkeys(step for step, _ in counted)),
        throttled=not cool,
    )


def _known(values: Iterable[float | None]) -> tuple[float, ...]:
    return tuple(value for value in values if value is not None)


def _median(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return median(known) if known else None
