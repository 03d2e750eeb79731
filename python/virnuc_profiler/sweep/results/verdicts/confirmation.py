# SPDX-License-Identifier: MIT
"""What a confirmation has shown, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from virnuc_profiler.analysis.confidence.paired import Comparison
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, Configuration, KnobSet

BETTER: Final = "better"
TIED: Final = "tied"


@dataclass(frozen=True, slots=True)
class Contenders:
    """The configurations of a race.

    Attributes:
        winner: The best that the grids have found.
        runner_up: The second best; None if there is none, or no time for it.
        baseline: The baseline; None if it did not succeed.
        others: Further finalists of a search.
    """

    winner: Configuration
    runner_up: Configuration | None
    baseline: Configuration | None
    others: tuple[Configuration, ...] = ()

    @property
    def reference(self) -> Configuration:
        """The configuration that the others are compared with."""
        return self.baseline or self.winner

    @property
    def all(self) -> tuple[Configuration, ...]:
        """Each configuration once."""
        return tuple(
            dict.fromkeys(one for one in (self.winner, self.runner_up, *self.others, self.baseline) if one is not None)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What a confirmation has shown.

    Attributes:
        contenders: The configurations; None if nothing could be compared.
        verdict: ``better`` than the baseline, ``tied`` with it, or ``cannot_tell``.
        recommended: The configuration to use; None if nothing could be compared.
        comparisons: Comparison of each contender with the baseline, or with the winner without a baseline.
        leaders: The contenders that are not shown to be worse than another.
        blocks: Number of whole blocks.
        allowed_sec: Seconds that it may take.
        used_sec: Seconds that it has taken.
    """

    contenders: Contenders | None
    verdict: str
    recommended: Configuration | None
    comparisons: Mapping[Configuration, Comparison]
    leaders: tuple[Configuration, ...]
    blocks: int
    allowed_sec: float
    used_sec: float

    def to_json(self) -> dict[str, Any]:
        """Return the confirmation as its result file holds it."""
        found = self.contenders
        roles = {} if found is None else {"winner": found.winner, "runner_up": found.runner_up}
        roles |= {} if found is None else {"baseline": found.baseline}
        return {
            "verdict": self.verdict,
            "recommended": _json(self.recommended),
            "blocks": self.blocks,
            "allowed_sec": self.allowed_sec,
            "used_sec": self.used_sec,
            "contenders": None if found is None else {role: _json(one) for role, one in roles.items()},
            "other_finalists": [] if found is None else [one.to_json() for one in found.others],
            "leaders": [one.to_json() for one in self.leaders],
            "comparisons": [
                {"config": one.to_json(), **comparison.to_json()} for one, comparison in self.comparisons.items()
            ],
        }

    @classmethod
    def from_json(cls, values: Any, knobs: KnobSet = BUILTIN_KNOBS) -> Confirmation | None:
        """Read what :meth:`to_json` returned, or None.

        Args:
            values: The JSON.
            knobs: Knobs of the target.

        Raises:
            TelemetryFormatError: It is something else.
        """
        if values is None:
            return None

        def read(one: Any) -> Configuration:
            return Configuration.from_json(one, knobs)

        def read_any(one: Any) -> Configuration | None:
            return None if one is None else read(one)

        try:
            found, others = values["contenders"], values.get("other_finalists") or ()
            return cls(
                contenders=None
                if found is None
                else Contenders(
                    read(found["winner"]),
                    read_any(found["runner_up"]),
                    read_any(found["baseline"]),
                    tuple(map(read, others)),
                ),
                verdict=str(values["verdict"]),
                recommended=read_any(values["recommended"]),
                comparisons={read(each["config"]): Comparison.from_json(each) for each in values["comparisons"]},
                leaders=tuple(map(read, values["leaders"])),
                blocks=int(values["blocks"]),
                allowed_sec=float(values["allowed_sec"]),
                used_sec=float(values["used_sec"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise TelemetryFormatError(f"its confirmation cannot be read: {error}") from None


def _json(configuration: Configuration | None) -> dict[str, Any] | None:
    return None if configuration is None else configuration.to_json()
