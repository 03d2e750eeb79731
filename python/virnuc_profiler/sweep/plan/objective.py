# SPDX-License-Identifier: MIT
"""What a sweep minimizes: the predicted time of the user's job, or its energy, under the user's constraints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.steps import MIN_PACKING
from virnuc_profiler.telemetry.rates import PROJECTED_SEQUENCES, ratio

TIME: Final = "time"
ENERGY: Final = "energy"
OBJECTIVES: Final = (TIME, ENERGY)


class Measured(Protocol):
    """What an objective reads of a result."""

    @property
    def start_up_sec(self) -> float | None:
        """Seconds until the first batch was complete."""

    @property
    def steady_sequences_per_sec(self) -> float | None:
        """Sequences per second after warm-up; None if the run is too short for it."""

    @property
    def rough_sequences_per_sec(self) -> float | None:
        """Sequences per second after the first batch; None if there is only one."""

    @property
    def sequences_per_sec(self) -> float | None:
        """Sequences per second of the whole run, start-up included."""

    @property
    def joules_per_sequence(self) -> float | None:
        """Energy of a sequence; None if it was not measured."""


@dataclass(frozen=True, slots=True)
class Objective:
    """The cost that a sweep minimizes, and what it requires of the best configuration.

    Attributes:
        kind: ``time`` for the predicted time of the job, ``energy`` for joules per sequence.
        sequences: Number of sequences of the job.
        min_packing: Packing efficiency that the user requires; None for the usual one of each step.
        max_memory_gb: Peak device memory in GB that the user allows; None for any.
        usual_packing: Packing efficiency that is required unless the user names one; None where the target has no such
            rule, as with padded batches.

    Raises:
        ValueError: A value is out of its range.
    """

    kind: str = TIME
    sequences: int = PROJECTED_SEQUENCES
    min_packing: float | None = None
    max_memory_gb: float | None = None
    usual_packing: float | None = MIN_PACKING

    def __post_init__(self) -> None:
        if self.kind not in OBJECTIVES:
            raise ValueError(f"objective {self.kind!r} is not one of {', '.join(OBJECTIVES)}")
        if self.sequences < 1:
            raise ValueError(f"the job has {self.sequences} sequences; it must have at least 1")

    @property
    def required_packing(self) -> float | None:
        """The packing efficiency that the recommendation of the whole sweep must reach; None if any will do."""
        return self.usual_packing if self.min_packing is None else self.min_packing

    @property
    def unit(self) -> str:
        """The unit of a cost."""
        return "s" if self.kind == TIME else "J/sequence"

    def predicted_sec(self, result: Measured) -> float | None:
        """Return the seconds of the job: one start-up, then the steady rate.

        A run without a steady rate counts with its rate after the first batch. One of a single batch counts with the
        rate of the whole run, as if it started up again and again.

        Args:
            result: Result of a configuration.
        """
        for rate in (result.steady_sequences_per_sec, result.rough_sequences_per_sec):
            seconds = ratio(self.sequences, rate)
            if seconds is not None:
                return seconds + (result.start_up_sec or 0.0)
        return ratio(self.sequences, result.sequences_per_sec)

    def cost(self, result: Measured) -> float | None:
        """Return what is to be as small as possible, in :attr:`unit`; None if it was not measured.

        Args:
            result: Result of a configuration.
        """
        found = self.predicted_sec(result) if self.kind == TIME else result.joules_per_sequence
        return found if found is not None and math.isfinite(found) and found > 0 else None

    def fits(self, peak_memory_gb: float | None) -> bool:
        """Return whether a configuration keeps the user's limit of memory; what was not measured does not.

        Args:
            peak_memory_gb: Peak device memory in GB; None if it was not measured.
        """
        return self.max_memory_gb is None or (peak_memory_gb is not None and peak_memory_gb <= self.max_memory_gb)

    def to_json(self) -> dict[str, Any]:
        """Return the objective as journals and result files hold it."""
        rule = {} if self.usual_packing == MIN_PACKING else {"usual_packing": self.usual_packing}
        return {
            "kind": self.kind,
            "sequences": self.sequences,
            "min_packing": self.min_packing,
            "max_memory_gb": self.max_memory_gb,
            **rule,
        }

    @classmethod
    def from_json(cls, values: Any) -> Objective:
        """Read what :meth:`to_json` returned; None, as in older files, is the default.

        Raises:
            TelemetryFormatError: It is something else.
        """
        from virnuc_profiler.telemetry.typed_records import require_type  # imports NumPy, which --help does not need

        if values is None:
            return cls()
        if not isinstance(values, Mapping):
            raise TelemetryFormatError("objective must be an object")
        for name, types in _TYPES.items():
            require_type(values.get(name), types, f"objective.{name}")
        try:
            known: dict[str, Any] = {name: values.get(name) for name in _TYPES}
            return cls(**{**known, "usual_packing": values.get("usual_packing", MIN_PACKING)})
        except ValueError as error:
            raise TelemetryFormatError(str(error)) from None


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "kind": (str,),
    "sequences": (int,),
    **dict.fromkeys(("min_packing", "max_memory_gb", "usual_packing"), (int, float, type(None))),
}
