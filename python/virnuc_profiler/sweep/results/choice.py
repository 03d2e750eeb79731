# SPDX-License-Identifier: MIT
"""The configuration that a whole sweep recommends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

from virnuc_profiler.analysis.selection import CONTAMINATED, select_best
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.results.result import ENVIRONMENT, Result
from virnuc_profiler.telemetry.number_text import counted, limit, share
from virnuc_profiler.telemetry.typed_records import require_type


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration that succeeded every time it was measured.

    Attributes:
        configuration: The configuration.
        rates: Sequences per second, one for each measurement.
        packing_efficiency: Median packing efficiency; None if it was not measured.
        found_in: Names of the steps that measured it.
        throttled: Whether the device was held down in every measurement. Such a candidate wins only among its like.
    """

    configuration: Configuration
    rates: tuple[float, ...]
    packing_efficiency: float | None
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
    def sequences_per_sec(self) -> float:
        """The median of the rates."""
        return median(self.rates)

    @property
    def spread(self) -> float:
        """The difference between the highest and the lowest rate, over their median."""
        return (max(self.rates) - min(self.rates)) / self.sequences_per_sec


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
        for name, types in _TYPES.items():
            require_type(values.get(name), types, name)
        try:
            configuration = Configuration.from_json(values["config"])
        except (AttributeError, TypeError, ValueError) as error:
            raise TelemetryFormatError(f"its config cannot be read: {error}") from None
        known = {name: values[name] for name in _TYPES if values.get(name) is not None}
        known |= {"found_in": tuple(values.get("found_in") or ()), "constraint_met": values.get("constraint_met")}
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
    "reason": (str,),
    **dict.fromkeys(("constraint_met", "constraint_met_in_steps"), (bool, type(None))),
    **dict.fromkeys(("sequences_per_sec", "packing_efficiency", "noise"), (int, float, type(None))),
    **dict.fromkeys(("measurements", "equals_within_noise"), (int, type(None))),
    "found_in": (list, type(None)),
}


def select_overall(steps: Mapping[str, Iterable[Result]], min_packing: float) -> Choice | None:
    """Select the best configuration of all steps; None if none succeeded.

    A configuration that is slower than the baseline is never chosen. Several steps measure the same configuration, so
    each counts with the median of its measurements: the luckiest of four would favor those that were measured four
    times. A configuration that failed anywhere is not safe, and does not count.

    Args:
        steps: Results by the name of their step.
        min_packing: Required packing efficiency; if no configuration reaches it, the best without it is chosen.
    """
    measured: dict[Configuration, list[tuple[str, Result]]] = {}
    for step, results in steps.items():
        for result in results:
            if result.reason in (CONTAMINATED, ENVIRONMENT) or result.interrupted:
                continue  # says nothing of the configuration, neither good nor bad
            measured.setdefault(result.configuration, []).append((step, result))
    safe = [
        _candidate(configuration, entries)
        for configuration, entries in measured.items()
        if all(result.succeeded and result.sequences_per_sec is not None for _, result in entries)
    ]
    selected = select_best(safe, min_packing)
    best, met, slower = selected.best, selected.constraint_met, ""
    if best is None:
        return None
    baselines = {result.configuration for result in steps.get(_BASELINE, ())}
    for baseline in (one for one in safe if one.configuration in baselines and one.throttled == best.throttled):
        if baseline.sequences_per_sec > best.sequences_per_sec:  # it lost for its packing alone
            slower = f"the speed of the baseline; what packs {limit(100 * min_packing, '%')} or more is slower"
            best, met = baseline, False
    rivals = [candidate for candidate in safe if candidate.throttled == best.throttled]
    noise = max((candidate.spread for candidate in rivals if len(candidate.rates) > 1), default=None)
    rivals = [candidate for candidate in rivals if not met or _packs(candidate, min_packing)]
    close = _equals(best, rivals, noise)
    equals = None if close is None else len(close)
    failed = len(measured) - len(safe)
    return Choice(
        reason=slower or _reason(best, len(safe), failed, min_packing, met, noise, close or []),
        configuration=best.configuration,
        constraint_met=met,
        constraint_met_in_steps=met,
        sequences_per_sec=best.sequences_per_sec,
        packing_efficiency=best.packing_efficiency,
        measurements=len(best.rates),
        found_in=best.found_in,
        noise=noise,
        equals_within_noise=equals,
    )


def missed_packing(packing_efficiency: float | None, min_packing: float) -> str:
    """Return in words that a packing efficiency is not the required one, with the digits that tell them apart.

    Args:
        packing_efficiency: Packing efficiency that was reached; None if it was not measured.
        min_packing: Required packing efficiency.
    """
    if packing_efficiency is None:
        return "its packing efficiency was not measured"
    return f"only {share(packing_efficiency, beside=min_packing)}"


def _candidate(configuration: Configuration, entries: Sequence[tuple[str, Result]]) -> Candidate:
    cool = [(step, result) for step, result in entries if not result.throttled]
    entries = cool or entries
    packing = [result.packing_efficiency for _, result in entries if result.packing_efficiency is not None]
    return Candidate(
        configuration,
        rates=tuple(result.sequences_per_sec for _, result in entries if result.sequences_per_sec is not None),
        packing_efficiency=median(packing) if packing else None,
        found_in=tuple(dict.fromkeys(step for step, _ in entries)),
        throttled=not cool,
    )


def _packs(candidate: Candidate, min_packing: float) -> bool:
    return candidate.packing_efficiency is not None and candidate.packing_efficiency >= min_packing


def _equals(best: Candidate, rivals: Sequence[Candidate], noise: float | None) -> list[Candidate] | None:
    """Return the rivals that are as good as the best within the noise; None without noise."""
    if noise is None:
        return None
    floor = best.sequences_per_sec * (1 - noise)
    return [rival for rival in rivals if rival is not best and rival.sequences_per_sec >= floor]


def _reason(
    best: Candidate,
    safe: int,
    failed: int,
    min_packing: float,
    met: bool,
    noise: float | None,
    close: Sequence[Candidate],
) -> str:
    repeats = f" (median of {len(best.rates)})" if len(best.rates) > 1 else ""
    unsafe = f" ({failed} failed)" if failed else ""
    wanted = f"a packing efficiency of {limit(100 * min_packing, '%')}"
    packing = f" with {wanted} or more" if met else f"; none reached {wanted}"
    doubt = ""
    if noise and close:
        among = " (the baseline among them)" if any(_BASELINE in rival.found_in for rival in close) else ""
        others = counted(len(close), "other is", "others are")
        within = f"within the {share(noise)} by which repeated measurements differ"
        doubt = f"; no difference beyond the noise: {others} {within}{among}"
    heat = "; the device was throttled in every measurement" if best.throttled else ""
    return f"highest sequences/s{repeats} of {safe} that succeeded{unsafe}{packing}{doubt}{heat}"
