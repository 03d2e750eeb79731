# SPDX-License-Identifier: MIT
"""What a confirmation has shown, and what follows from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from virnuc_profiler.analysis.confidence.paired import CANNOT_TELL, FASTER, MIN_BLOCKS_TO_AGREE, SAME, Comparison
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.results.verdicts.cheapest import cheapest
from virnuc_profiler.sweep.results.verdicts.race_replay import Allowance, Contenders, Replay

BETTER: Final = "better"
TIED: Final = "tied"


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
            "leaders": [one.to_json() for one in self.leaders],
            "comparisons": [
                {"config": one.to_json(), **comparison.to_json()} for one, comparison in self.comparisons.items()
            ],
        }

    @classmethod
    def from_json(cls, values: Any) -> Confirmation | None:
        """Read what :meth:`to_json` returned, or None.

        Raises:
            TelemetryFormatError: It is something else.
        """
        if values is None:
            return None
        try:
            found = values["contenders"]
            return cls(
                contenders=None if found is None else _contenders(found),
                verdict=str(values["verdict"]),
                recommended=_read_any(values["recommended"]),
                comparisons={_read(each["config"]): Comparison.from_json(each) for each in values["comparisons"]},
                leaders=tuple(map(_read, values["leaders"])),
                blocks=int(values["blocks"]),
                allowed_sec=float(values["allowed_sec"]),
                used_sec=float(values["used_sec"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise TelemetryFormatError(f"its confirmation cannot be read: {error}") from None


def conclude(
    replay: Replay | None,
    allowance: Allowance,
    memory_gb: Mapping[Configuration, float | None],
    allowed: Collection[Configuration],
) -> Confirmation:
    """Return what a race has shown, and what it recommends.

    A configuration that is shown to be better than the baseline is recommended. Otherwise it is the cheapest of those
    that are shown to be no more than the threshold worse than the baseline, among them the baseline itself.

    Args:
        replay: The race; None if the time suffices for none, or there is one configuration only.
        allowance: The time.
        memory_gb: Peak device memory of each configuration in GB.
        allowed: Configurations that keep the required packing efficiency and the limit of memory, if one does.
    """
    if replay is None:
        return Confirmation(
            contenders=None, verdict=CANNOT_TELL, recommended=None, comparisons={}, leaders=(), blocks=0,
            allowed_sec=allowance.allowed_sec, used_sec=0.0,
        )  # fmt: skip
    comparisons, leaders, reference = replay.comparisons(), replay.leaders(), replay.contenders.reference
    better = [one for one in leaders if one in comparisons and comparisons[one].verdict == FASTER]
    level = [one for one, found in comparisons.items() if _is_level(found)]
    same = all(found.verdict == SAME for found in comparisons.values())
    verdict = BETTER if better else TIED if same else CANNOT_TELL
    eligible = better or [reference, *level]
    return Confirmation(
        contenders=replay.contenders,
        verdict=verdict,
        recommended=cheapest([one for one in eligible if one in allowed] or eligible, memory_gb),
        comparisons=comparisons,
        leaders=leaders,
        blocks=replay.block,
        allowed_sec=allowance.allowed_sec,
        used_sec=replay.used_sec,
    )


def _is_level(found: Comparison) -> bool:
    """Return whether a configuration is shown to be no more than the threshold worse than the reference."""
    enough = found.blocks >= MIN_BLOCKS_TO_AGREE
    return enough and found.low is not None and found.low >= 1 / (1 + found.threshold)


def _contenders(found: Mapping[str, Any]) -> Contenders:
    return Contenders(_read(found["winner"]), _read_any(found["runner_up"]), _read_any(found["baseline"]))


def _json(configuration: Configuration | None) -> dict[str, Any] | None:
    return None if configuration is None else configuration.to_json()


def _read(values: Any) -> Configuration:
    return Configuration.from_json(values)


def _read_any(values: Any) -> Configuration | None:
    return None if values is None else _read(values)
