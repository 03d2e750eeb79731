# SPDX-License-Identifier: MIT
"""What differs between the two sides, and what makes comparing them meaningless."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

from virnuc_profiler.analysis.comparison.measured_run import MeasuredRun

SM_CLOCK: Final = "clocks.sm_mhz"
CLOCK_TOLERANCE: Final = 0.01
"""Relative difference up to which two mean SM clocks count as equal: they are averages of a few readings."""

REFUSING: Final = {
    "device.kind": "the kind of device",
    "device.name": "the device",
    "model.model_name": "the model",
    "model.precision": "the precision",
    "workload.fingerprint": "the file of sequences",
    "workload.num_sequences": "the number of sequences",
    "workload.skipped_records": "the skipped records",
    "workload.sampling": "the sampling of the file",
    "workload.sample_fingerprint": "the sample of the file",
    "workload.tokens": "the number of tokens",
}
"""Facts that must be equal, with their names in words. Versions of the software are what one compares, so they may
differ, and so may clocks, drivers and configurations, which are named."""

_FINGERPRINT: Final = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]+")

_IMPLIED: Final = {
    "device.kind": frozenset({"device.name"}),
    "workload.fingerprint": frozenset(name for name in REFUSING if name.startswith("workload.")),
    "workload.num_sequences": frozenset({"workload.tokens", "workload.sample_fingerprint"}),
    "workload.sampling": frozenset({"workload.tokens", "workload.sample_fingerprint"}),
    "workload.sample_fingerprint": frozenset({"workload.tokens"}),
}
"""Facts that say nothing new where another one already differs."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not the same on both sides.

    Attributes:
        name: Dotted name of the fact, such as ``versions.torch``.
        reference: Its values on the side of the reference, each once.
        candidate: Its values on the side of the candidate, each once.
        refuses: Whether it makes the comparison meaningless.
    """

    name: str
    reference: tuple[Any, ...]
    candidate: tuple[Any, ...]
    refuses: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the difference as the JSON form of a comparison holds it."""
        return {
            "name": self.name,
            "reference": list(self.reference),
            "candidate": list(self.candidate),
            "refuses": self.refuses,
        }


def differences(reference: Sequence[MeasuredRun], candidate: Sequence[MeasuredRun]) -> tuple[Difference, ...]:
    """Return what differs between two sides; a fact that one side does not know is no difference.

    Args:
        reference: Runs of the reference.
        candidate: Runs of the candidate.
    """
    names = dict.fromkeys(name for run in (*reference, *candidate) for name in run.facts)
    found = []
    for name in names:
        before, after = facts_named(name, reference), facts_named(name, candidate)
        if before and after and not _same(name, before, after):
            found.append(Difference(name, before, after, name in REFUSING))
    implied = {other for one in found for other in _IMPLIED.get(one.name, ()) if other != one.name}
    found = [one for one in found if one.name not in implied]
    return tuple(sorted(found, key=lambda one: not one.refuses))


def refusal(found: Iterable[Difference]) -> str:
    """Return in what two sides differ that makes comparing them meaningless, in words; empty if in nothing.

    Args:
        found: Differences between the sides.
    """
    return ", ".join(
        f"{REFUSING[one.name]} ({value_text(one.reference)} and {value_text(one.candidate)})"
        for one in found
        if one.refuses
    )


def unknown_facts(reference: Sequence[MeasuredRun], candidate: Sequence[MeasuredRun]) -> tuple[str, ...]:
    """Return in words which facts that must be equal are not known on both sides, so that they were not checked.

    Args:
        reference: Runs of the reference.
        candidate: Runs of the candidate.
    """
    required = ["device.kind", "model.model_name", "model.precision", "workload.fingerprint"]
    if all("precision" in run.configuration for run in (*reference, *candidate)):
        required.remove("model.precision")  # a sweep that varies it compares each precision with itself
    return tuple(
        REFUSING[name] for name in required if not facts_named(name, reference) or not facts_named(name, candidate)
    )


def facts_named(name: str, runs: Iterable[MeasuredRun]) -> tuple[Any, ...]:
    """Return the known values of a fact, each once, in the order of the runs.

    Args:
        name: Dotted name of the fact.
        runs: Runs of one side.
    """
    values = {json.dumps(run.facts[name], sort_keys=True): run.facts[name] for run in runs if name in run.facts}
    return tuple(values.values())


def value_text(values: Sequence[Any]) -> str:
    """Return the values of a fact as a text; long ones, such as fingerprints, are cut.

    Args:
        values: Values of the fact on one side, each once.
    """
    return ", ".join(_shortened(value if isinstance(value, str) else json.dumps(value)) for value in values)


def _shortened(text: str) -> str:
    match = _FINGERPRINT.fullmatch(text)
    return text if match is None else f"{match[1]}…"


def _same(name: str, before: Sequence[Any], after: Sequence[Any]) -> bool:
    if name == SM_CLOCK:
        first, second = fmean(before), fmean(after)
        return abs(first - second) <= CLOCK_TOLERANCE * max(first, second)
    return {json.dumps(value, sort_keys=True) for value in before} == {
        json.dumps(value, sort_keys=True) for value in after
    }
