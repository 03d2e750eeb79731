# SPDX-License-Identifier: MIT
"""The configuration that a whole sweep recommends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.objective import TIME
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, Configuration, KnobSet
from virnuc_profiler.telemetry.number_text import share
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
    def from_json(cls, values: Any, knobs: KnobSet = BUILTIN_KNOBS) -> Choice:
        """Read a choice from the object that holds its keys.

        Args:
            values: The object.
            knobs: Knobs of the target.

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
            configuration = Configuration.from_json(values["config"], knobs)
            tied_with = tuple(Configuration.from_json(one, knobs) for one in values.get("tied_with") or ())
        except (AttributeError, TypeError, ValueError) as error:
            raise TelemetryFormatError(f"its config cannot be read: {error}") from None
        known = {name: values[name] for name in _TYPES if values.get(name) is not None}
        known |= {"found_in": tuple(values.get("found_in") or ()), "constraint_met": values.get("constraint_met")}
        known |= {"tied_with": tied_with}
        return cls(**known, configuration=configuration)

    def after_validation(self, met: bool | None, packing_efficiency: float | None, min_packing: float | None) -> Choice:
        """Return the choice with what the validation says of its packing, which may be worse than in the steps.

        Args:
            met: Whether the validation keeps what is required; None if it failed, or nothing is required.
            packing_efficiency: Packing efficiency of the validation; None if it was not measured.
            min_packing: Required packing efficiency; None if none is.
        """
        reason = self.reason
        if met is False and self.constraint_met:
            packs = min_packing is None or (packing_efficiency is not None and packing_efficiency >= min_packing)
            missed = "too much device memory" if packs else missed_packing(packing_efficiency, min_packing)
            reason += f"; {missed} in the validation"
        if met and self.constraint_met is False:
            reached = share(packing_efficiency, beside=min_packing)
            reason += f" in the steps before the validation, which reached {reached}"
        return replace(self, reason=reason, constraint_met=met, constraint_met_in_steps=self.constraint_met)


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


def missed_packing(packing_efficiency: float | None, min_packing: float | None) -> str:
    """Return in words that a packing efficiency is not the required one, with the digits that tell them apart.

    Args:
        packing_efficiency: Packing efficiency that was reached; None if it was not measured.
        min_packing: Required packing efficiency.
    """
    if packing_efficiency is None:
        return "its packing efficiency was not measured"
    return f"only {share(packing_efficiency, beside=min_packing)}"
