# SPDX-License-Identifier: MIT
"""The configurations that no other one beats in predicted time, energy and memory at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from virnuc_profiler.targets.knobs.configuration import Configuration


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """What a configuration costs.

    Attributes:
        configuration: The configuration.
        predicted_sec: Predicted seconds of the job.
        joules_per_sequence: Energy of a sequence; None if it was not measured.
        peak_memory_gb: Peak device memory in GB; None if it was not measured.
    """

    configuration: Configuration
    predicted_sec: float | None
    joules_per_sequence: float | None
    peak_memory_gb: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the costs as ``best_config.json`` holds them."""
        return {
            "config": self.configuration.to_json(),
            "predicted_sec": self.predicted_sec,
            "joules_per_sequence": self.joules_per_sequence,
            "peak_memory_gb": self.peak_memory_gb,
        }


def pareto_set(tradeoffs: Iterable[Tradeoff]) -> list[Tradeoff]:
    """Return those that no other one beats, the fastest first.

    A quantity counts only if it was measured for all. Of two that agree in all that counts, the first stays.

    Args:
        tradeoffs: Costs of each configuration.
    """
    known = [one for one in tradeoffs if one.predicted_sec is not None]
    costs = [(one.predicted_sec, one.joules_per_sequence, one.peak_memory_gb) for one in known]
    columns = [place for place in range(3) if all(row[place] is not None for row in costs)]
    rows = [tuple(row[place] or 0.0 for place in columns) for row in costs]
    kept = [one for one, row in zip(known, rows, strict=True) if not _is_beaten(row, rows)]
    unique = {rows[known.index(one)]: one for one in reversed(kept)}
    return sorted(unique.values(), key=lambda one: one.predicted_sec or 0.0)


def _is_beaten(row: Sequence[float], rows: Iterable[Sequence[float]]) -> bool:
    return any(other != row and all(a <= b for a, b in zip(other, row, strict=True)) for other in rows)
