# SPDX-License-Identifier: MIT
"""The configuration that a whole sweep recommends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from virnuc_profiler.analysis.selection import CONTAMINATED, THROTTLED, is_throttled, select_best
from virnuc_profiler.sweep.plan.configuration import Configuration


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration that succeeded whenever it was measured.

    Attributes:
        configuration: the settings.
        rates: sequences per second, one for each measurement.
        packing_efficiency: median; None if it was not measured.
        found_in: the steps that measured it.
        throttled: whether the device was held down in every measurement; those of which this is true do not count
            beside others.
    """

    configuration: Configuration
    rates: tuple[float, ...]
    packing_efficiency: float | None
    found_in: tuple[str, ...]
    throttled: bool = False

    @property
    def sequences_per_sec(self) -> float:
        """Median of the rates."""
        return median(self.rates)

    @property
    def spread(self) -> float:
        """By how much the rates differ at most, over their median."""
        return (max(self.rates) - min(self.rates)) / self.sequences_per_sec


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        candidate: the best one.
        constraint_met: whether it has the wanted packing efficiency.
        noise: the largest spread of a configuration that was measured more than once; None if none was.
        equals: how many others are within that noise of the best.
        reason: why this one, in words.
    """

    candidate: Candidate
    constraint_met: bool
    noise: float | None
    equals: int
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """As result files hold it."""
        best = self.candidate
        return {
            "config": best.configuration.as_dict(),
            "reason": self.reason,
            "constraint_met": self.constraint_met,
            "sequences_per_sec": best.sequences_per_sec,
            "packing_efficiency": best.packing_efficiency,
            "measurements": len(best.rates),
            "found_in": list(best.found_in),
            "noise": self.noise,
            "equals_within_noise": self.equals,
        }


def choose_overall(documents: Iterable[Mapping[str, Any]], min_packing: float) -> Choice | None:
    """The best configuration of all steps; None if none succeeded.

    Several steps measure the same configuration, so each counts with the median of its measurements: the luckiest of
    four would favour those that were measured four times. One that failed anywhere is not safe, and does not count.

    Args:
        documents: what the steps wrote.
        min_packing: packing efficiency that is wanted; if none has it, the best without it is chosen.
    """
    measured: dict[Configuration, list[tuple[str, Mapping[str, Any]]]] = {}
    for document in documents:
        for result in document["results"]:
            if result.get("reason") == CONTAMINATED:
                continue  # says nothing of the configuration, neither good nor bad
            measured.setdefault(Configuration(**result["config"]), []).append((document["step"], result))
    safe = [
        _candidate(configuration, entries)
        for configuration, entries in measured.items()
        if all(result["status"] == "success" for _, result in entries)
    ]
    chosen = select_best([_plain(candidate) for candidate in safe], min_packing)
    if chosen.best is None:
        return None
    best: Candidate = chosen.best["candidate"]
    rivals = [candidate for candidate in safe if candidate.throttled == best.throttled]
    noise = max((candidate.spread for candidate in rivals if len(candidate.rates) > 1), default=None)
    rivals = [candidate for candidate in rivals if not chosen.constraint_met or _packs(candidate, min_packing)]
    equals = _equals(best, rivals, noise)
    reason = _reason(best, len(safe), len(measured) - len(safe), min_packing, chosen.constraint_met, noise, equals)
    return Choice(best, chosen.constraint_met, noise, equals, reason)


def _candidate(configuration: Configuration, entries: Sequence[tuple[str, Mapping[str, Any]]]) -> Candidate:
    cool = [(step, result) for step, result in entries if not is_throttled(result)]
    entries = cool or entries
    packing = [value for _, result in entries if (value := result.get("packing_efficiency")) is not None]
    return Candidate(
        configuration,
        rates=tuple(result["sequences_per_sec"] for _, result in entries),
        packing_efficiency=median(packing) if packing else None,
        found_in=tuple(dict.fromkeys(step for step, _ in entries)),
        throttled=not cool,
    )


def _plain(candidate: Candidate) -> dict[str, Any]:
    return {
        "status": "success",
        "outcome": THROTTLED if candidate.throttled else "ok",
        "candidate": candidate,
        "sequences_per_sec": candidate.sequences_per_sec,
        "packing_efficiency": candidate.packing_efficiency,
    }


def _packs(candidate: Candidate, min_packing: float) -> bool:
    return candidate.packing_efficiency is not None and candidate.packing_efficiency >= min_packing


def _equals(best: Candidate, rivals: Sequence[Candidate], noise: float | None) -> int:
    if noise is None:
        return 0
    floor = best.sequences_per_sec * (1 - noise)
    return sum(rival is not best and rival.sequences_per_sec >= floor for rival in rivals)


def _reason(
    best: Candidate, safe: int, failed: int, min_packing: float, met: bool, noise: float | None, equals: int
) -> str:
    repeats = f" (median of {len(best.rates)})" if len(best.rates) > 1 else ""
    unsafe = f" ({failed} failed)" if failed else ""
    wanted = f"a packing efficiency of {min_packing:.0%}"
    packing = f" with {wanted} or more" if met else f"; none reached {wanted}"
    others = f"{equals} other{'s are' if equals != 1 else ' is'}"
    doubt = f"; {others} within the {noise:.1%} by which repeated measurements differ" if noise and equals else ""
    heat = "; the device was throttled in every measurement" if best.throttled else ""
    return f"highest sequences/s{repeats} of {safe} that succeeded{unsafe}{packing}{doubt}{heat}"
