# SPDX-License-Identifier: MIT
"""The result of a comparison: verdicts for each metric, what differs, and what a reader must know beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from virnuc_profiler.analysis.comparison.differences import Difference
from virnuc_profiler.analysis.comparison.effects import Effect, Rule
from virnuc_profiler.analysis.comparison.measured_run import Side
from virnuc_profiler.analysis.comparison.metrics import STEADY, WHOLE_RUN


@dataclass(frozen=True, slots=True)
class Failure:
    """A configuration that succeeded on one side and failed on the other.

    Attributes:
        configuration: Values of the knobs by name.
        in_candidate: Whether it failed on the side of the candidate.
        reason: Kind of failure, such as ``OOM``.
    """

    configuration: Mapping[str, Any]
    in_candidate: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two sides, compared.

    Attributes:
        reference: The side that is compared with.
        candidate: The side that is judged.
        rule: When a difference is a difference.
        effects: Effect on each metric, over all common configurations.
        configurations: Common configurations with the effect on the rate of each; empty for runs.
        recommended: Effect of taking the candidate's recommendation on its side over taking the reference's on its
            own; None if one of them has none.
        failures: Configurations that succeeded on one side only.
        differences: What differs between the sides.
        warnings: What makes the comparison doubtful, or meaningless where it was made anyway.
        notes: What the intervals do not show, and what to do.
    """

    reference: Side
    candidate: Side
    rule: Rule
    effects: tuple[Effect, ...]
    configurations: tuple[tuple[Mapping[str, Any], Effect], ...]
    recommended: Effect | None
    failures: tuple[Failure, ...]
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_worse(self) -> bool:
        """Whether the candidate is shown to be worse in any metric, or fails where the reference does not."""
        return any(effect.is_worse for effect in self.effects) or any(one.in_candidate for one in self.failures)

    @property
    def is_slower(self) -> bool:
        """Whether the main effect is SLOWER, or that on any configuration of a sweep."""
        effects = [effect for _, effect in self.configurations]
        return any(effect is not None and effect.verdict == "SLOWER" for effect in (self.main_effect, *effects))

    @property
    def main_effect(self) -> Effect | None:
        """The effect that decides, on the steady rate or on the whole run's where no steady rate was compared."""
        rates = [effect for effect in self.effects if effect.metric in (STEADY, WHOLE_RUN)]
        compared = [effect for effect in rates if effect.ratio is not None]
        return next(iter(compared or rates), None)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON."""
        main = self.main_effect
        return {
            "kind": "virnuc_profiler comparison",
            "schema_version": "1.0",
            "verdict": "CANNOT TELL" if main is None else main.verdict,
            "threshold": self.rule.threshold,
            "confidence": self.rule.confidence,
            "reference": _side_json(self.reference),
            "candidate": _side_json(self.candidate),
            "metrics": [effect.to_json() for effect in self.effects],
            "configurations": [
                {"configuration": dict(configuration), **effect.to_json()}
                for configuration, effect in self.configurations
            ],
            "recommended": None if self.recommended is None else self.recommended.to_json(),
            "failures": [asdict(failure) for failure in self.failures],
            "differences": [difference.to_json() for difference in self.differences],
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def configuration_text(configuration: Mapping[str, Any]) -> str:
    """Return a configuration in words, such as ``num_workers=4, token_budget=8192``.

    Args:
        configuration: Values of the knobs by name.
    """
    texts = {name: str(value).lower() if isinstance(value, bool) else value for name, value in configuration.items()}
    return ", ".join(f"{name}={text}" for name, text in texts.items()) or "not known"


def _side_json(side: Side) -> dict[str, Any]:
    return {
        "name": side.name,
        "sources": [run.source for run in side.runs],
        "runs": len(side.succeeded()),
        "is_sweep": side.is_sweep,
        "recommended": None if side.recommended is None else dict(side.recommended),
    }
