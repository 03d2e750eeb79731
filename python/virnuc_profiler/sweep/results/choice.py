# SPDX-License-Identifier: MIT
"""The configuration that a whole sweep recommends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from virnuc_profiler.analysis.confidence.paired import CANNOT_TELL, FASTER, SAME
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.configuration import KNOBS, Configuration
from virnuc_profiler.sweep.plan.objective import ENERGY, TIME, Objective
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.verdicts.candidates import Candidate, Ranking, packs, rank
from virnuc_profiler.sweep.results.verdicts.confirmation import BETTER, TIED, Confirmation
from virnuc_profiler.sweep.results.verdicts.standing import Standing
from virnuc_profiler.sweep.results.verdicts.standings import THRESHOLD
from virnuc_profiler.telemetry.number_text import counted, limit, number, share, times
from virnuc_profiler.telemetry.typed_records import require_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        reason: Why this configuration, or why none, in words.
        configuration: The best configuration; None if none succeeded, and then the rest says nothing.
        constraint_met: Whether it reaches the required packing efficiency, in the validation if that was run, else in
            the steps before; None if the validation failed.
        constraint_met_in_steps: Whether it reached that in the steps before the validation; None if not known.
        sequences_per_sec: Median of its rates.
        packing_efficiency: Median of its packing efficiency; None if it was not measured.
        measurements: How many times it was measured.
        found_in: Names of the steps that measured it.
        noise: Largest spread between repeated measurements of a configuration; None if none was repeated.
        equals_within_noise: Number of other configurations within that noise of the best; None without noise.
        objective: What was minimized, ``time`` or ``energy``.
        cost: Median of its costs: predicted seconds of the job, or joules per sequence; None in older files.
        verdict: ``better`` than the baseline, ``tied`` with it, ``cannot_tell``, or None if that was not tested.
        speedup: Cost of the baseline over that of the configuration in the test; None without one.
        speedup_low: Lower end of its interval.
        speedup_high: Upper end of its interval.
        tied_with: Other configurations that the confirmation does not show to be worse.
    """

    reason: str
    configuration: Configuration | None = None
    constraint_met: bool | None = False
    constraint_met_in_steps: bool | None = None
    sequences_per_sec: float | None = None
    packing_efficiency: float | None = None
    measurements: int = 0
    found_in: tuple[str, ...] = ()
    noise: float | None = None
    equals_within_noise: int | None = None
    objective: str = TIME
    cost: float | None = None
    verdict: str | None = None
    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None
    tied_with: tuple[Configuration, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the choice as result files hold it."""
        if self.configuration is None:
            return {"reason": self.reason}
        return {
            "config": self.configuration.to_json(),
            "reason": self.reason,
            "constraint_met": self.constraint_met,
            "constraint_met_in_steps": self.constraint_met_in_steps,
            "sequences_per_sec": self.sequences_per_sec,
            "packing_efficiency": self.packing_efficiency,
            "measurements": self.measurements,
            "found_in": list(self.found_in),
            "noise": self.noise,
            "equals_within_noise": self.equals_within_noise,
            "objective": self.objective,
            "cost": self.cost,
            "verdict": self.verdict,
            "speedup": self.speedup,
            "speedup_low": self.speedup_low,
            "speedup_high": self.speedup_high,
            "tied_with": [one.to_json() for one in self.tied_with],
        }

    @classmethod
    def from_json(cls, values: Any) -> Choice:
        """Read a choice from the object that holds its keys.

        Raises:
            TelemetryFormatError: It has no reason, or a value of another form.
        """
        if not isinstance(values, Mapping):
            raise TelemetryFormatError("its selection must be an object")
        require_type(values.get("reason"), (str,), "reason")
        if values.get("config") is None:
            return cls(reason=values["reason"])
        values = {"objective": TIME, **values}
        for name, types in _TYPES.items():
            require_type(values.get(name), types, name)
        try:
            configuration = Configuration.from_json(values["config"])
            tied_with = tuple(map(Configuration.from_json, values.get("tied_with") or ()))
        except (AttributeError, TypeError, ValueError) as error:
            raise TelemetryFormatError(f"its config cannot be read: {error}") from None
        known = {name: values[name] for name in _TYPES if values.get(name) is not None}
        known |= {"found_in": tuple(values.get("found_in") or ()), "constraint_met": values.get("constraint_met")}
        known |= {"tied_with": tied_with}
        return cls(**known, configuration=configuration)

    def after_validation(self, met: bool | None, packing_efficiency: float | None, min_packing: float) -> Choice:
        """Return the choice with what the validation says of its packing, which may be worse than in the steps.

        Args:
            met: Whether the validation reached the required packing efficiency; None if it failed.
            packing_efficiency: Packing efficiency of the validation; None if it was not measured.
            min_packing: Required packing efficiency.
        """
        reason = self.reason
        if met is False and self.constraint_met:
            reason += f"; {missed_packing(packing_efficiency, min_packing)} in the validation"
        if met and self.constraint_met is False:
            reached = share(packing_efficiency, beside=min_packing)
            reason += f" in the steps before the validation, which reached {reached}"
        return replace(self, reason=reason, constraint_met=met, constraint_met_in_steps=self.constraint_met)


_BASELINE: Final = "baseline"

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("reason", "objective"), (str,)),
    "verdict": (str, type(None)),
    **dict.fromkeys(("constraint_met", "constraint_met_in_steps"), (bool, type(None))),
    **dict.fromkeys(
        ("sequences_per_sec", "packing_efficiency", "noise", "cost", "speedup", "speedup_low", "speedup_high"),
        (int, float, type(None)),
    ),
    **dict.fromkeys(("measurements", "equals_within_noise"), (int, type(None))),
    **dict.fromkeys(("found_in", "tied_with"), (list, type(None))),
}


def select_overall(
    steps: Mapping[str, Iterable[Result]],
    min_packing: float,
    *,
    objective: Objective | None = None,
    confirmation: Confirmation | None = None,
    standing: Callable[[Configuration], Standing | None] | None = None,
) -> Choice | None:
    """Select the best configuration of all steps; None if none succeeded.

    Args:
        steps: Results by the name of their step.
        min_packing: Required packing efficiency; if no configuration reaches it, the best without it is chosen.
        objective: What is minimized; None for the predicted time of the usual job.
        confirmation: What the confirmation has shown; None if there was none.
        standing: Returns how a configuration stands beside the baseline in a step with blocks; None if there is none.
    """
    wanted = replace(objective or Objective(), min_packing=min_packing)
    return choose(rank(steps, wanted), wanted, confirmation, standing or (lambda _: None))


def choose(
    ranking: Ranking,
    objective: Objective,
    confirmation: Confirmation | None,
    standing: Callable[[Configuration], Standing | None],
) -> Choice | None:
    """Return the configuration to recommend; None if no configuration succeeded.

    A confirmation decides. Without one, the best of the steps is chosen, and called untested unless the step that has
    measured it in blocks has shown it to be better than the baseline.

    Args:
        ranking: The candidates of all steps.
        objective: What is minimized.
        confirmation: What the confirmation has shown; None if there was none.
        standing: Returns how a configuration stands beside the baseline in a step with blocks; None if there is none.
    """
    if ranking.best is None:
        return None
    choice = _measured_best(ranking, ranking.best, objective)
    if confirmation is None:
        return _tested_in_steps(choice, standing(ranking.best.configuration))
    if confirmation.recommended is None or confirmation.contenders is None:
        return _tested_in_steps(choice, standing(ranking.best.configuration), _why_untested(confirmation))
    recommended = next(one for one in ranking.safe if one.configuration == confirmation.recommended)
    if recommended is not ranking.best:
        choice = _measured_best(ranking, recommended, objective)
        met = packs(recommended, objective.required_packing) and objective.fits(recommended.peak_memory_gb)
        choice = replace(choice, constraint_met=met, constraint_met_in_steps=met)
    return _confirmed(choice, confirmation, objective)


def missed_packing(packing_efficiency: float | None, min_packing: float) -> str:
    """Return in words that a packing efficiency is not the required one, with the digits that tell them apart.

    Args:
        packing_efficiency: Packing efficiency that was reached; None if it was not measured.
        min_packing: Required packing efficiency.
    """
    if packing_efficiency is None:
        return "its packing efficiency was not measured"
    return f"only {share(packing_efficiency, beside=min_packing)}"


def _measured_best(ranking: Ranking, best: Candidate, objective: Objective) -> Choice:
    """Return the choice of a candidate by what the steps have measured."""
    noise = max((one.spread for one in ranking.rivals if len(one.costs) > 1), default=None)
    rivals = [one for one in ranking.rivals if one.configuration != best.configuration]
    close = None if noise is None else [one for one in rivals if one.cost <= best.cost * (1 + noise)]
    return Choice(
        reason=_reason(ranking, best, objective, noise, close or []),
        configuration=best.configuration,
        constraint_met=ranking.constraint_met,
        constraint_met_in_steps=ranking.constraint_met,
        sequences_per_sec=best.sequences_per_sec,
        packing_efficiency=best.packing_efficiency,
        measurements=len(best.costs),
        found_in=best.found_in,
        noise=noise,
        equals_within_noise=None if close is None else len(close),
        objective=objective.kind,
        cost=best.cost,
    )


def _tested_in_steps(choice: Choice, standing: Standing | None, why: str = "") -> Choice:
    """Return a choice that no confirmation has tested, with what a step with blocks has shown of it."""
    if standing is None or standing.verdict is None:
        return replace(choice, reason=f"{choice.reason}; its advantage is not tested{why}")
    verdict = {FASTER: BETTER, SAME: TIED}.get(standing.verdict, CANNOT_TELL)
    return replace(
        choice,
        verdict=verdict,
        speedup=standing.speedup,
        speedup_low=standing.speedup_low,
        speedup_high=standing.speedup_high,
        reason=f"{choice.reason}; {_ratio(standing.speedup, standing.speedup_low, standing.speedup_high)} of the "
        f"baseline in {counted(standing.measurements, 'block')}",
    )


def _why_untested(confirmation: Confirmation) -> str:
    return f": {number(confirmation.allowed_sec, 0, ' s')} are too short for a confirmation"


def _confirmed(choice: Choice, confirmation: Confirmation, objective: Objective) -> Choice:
    contenders, recommended = confirmation.contenders, confirmation.recommended
    assert contenders is not None
    assert recommended is not None
    found = confirmation.comparisons.get(recommended)
    blocks = counted(confirmation.blocks, "block")
    level = [one for one in confirmation.leaders if one != recommended]
    reference = "the baseline" if contenders.baseline is not None else "the fastest measured"
    if confirmation.verdict == BETTER and found is not None:
        what = "less energy" if objective.kind == ENERGY else "faster"
        reason = f"{what} than {reference} in {blocks}: {_ratio(found.ratio, found.low, found.high)}"
    elif confirmation.verdict == TIED:
        names = " and ".join(_distinct(one, recommended) for one in level)
        reason = f"tied within {share(THRESHOLD)} with {names} in {blocks}, and the cheapest of them"
    else:
        others = ", ".join(
            f"{_distinct(one, contenders.reference)} at {_ratio(each.ratio, each.low, each.high)}"
            for one, each in confirmation.comparisons.items()
        )
        kept = reference if recommended == contenders.reference else "the cheapest that is shown to be as good"
        reason = f"cannot tell in {blocks} whether anything is better than {reference} ({others}), so it is {kept}"
    return replace(
        choice,
        reason=reason,
        verdict=confirmation.verdict,
        speedup=1.0 if found is None else found.ratio,
        speedup_low=None if found is None else found.low,
        speedup_high=None if found is None else found.high,
        tied_with=tuple(level),
    )


def _distinct(configuration: Configuration, other: Configuration) -> str:
    """Return the values of the knobs in which a configuration differs from another."""
    theirs = other.values()
    return ", ".join(
        f"{name}={KNOBS[name].text(value)}" for name, value in configuration.values().items() if value != theirs.get(name)
    )


def _ratio(ratio: float | None, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{times(ratio)} (no interval)"
    return f"{times(ratio)} ({times(low)} to {times(high)})"


def _reason(
    ranking: Ranking, best: Candidate, objective: Objective, noise: float | None, close: Sequence[Candidate]
) -> str:
    min_packing = objective.required_packing
    if ranking.is_fallback and best is ranking.best:
        return f"the speed of the baseline; what packs {limit(100 * min_packing, '%')} or more is slower"
    repeats = f" (median of {len(best.costs)})" if len(best.costs) > 1 else ""
    unsafe = f" ({ranking.failed} failed)" if ranking.failed else ""
    wanted = f"a packing efficiency of {limit(100 * min_packing, '%')}"
    memory = "" if objective.max_memory_gb is None else f" within {limit(objective.max_memory_gb, ' GB')}"
    packing = f" with {wanted} or more{memory}" if ranking.constraint_met else f"; none reached {wanted}{memory}"
    doubt = ""
    if noise and close:
        among = " (the baseline among them)" if any(_BASELINE in rival.found_in for rival in close) else ""
        others = counted(len(close), "other is", "others are")
        within = f"within the {share(noise)} by which repeated measurements differ"
        doubt = f"; no difference beyond the noise: {others} {within}{among}"
    heat = "; the device was throttled in every measurement" if best.throttled else ""
    what = "least energy" if objective.kind == ENERGY else "shortest predicted time"
    return f"{what}{repeats} of {len(ranking.safe)} that succeeded{unsafe}{packing}{doubt}{heat}"
