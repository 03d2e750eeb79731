# SPDX-License-Identifier: MIT
"""How a configuration stands beside the baseline and the best of its step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.typed_records import require_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the measurements of one configuration say.

    Attributes:
        measurements: Number of measurements that count, in all steps so far unless the step has blocks.
        blocks: Number of them in the step itself.
        cost: Geometric mean of their costs, in the unit of the sweep's objective; None if no cost was measured.
        predicted_sec: Geometric mean of the predicted seconds of the job, whatever the objective; None without a rate.
        rate: Geometric mean of their steady rates in sequences per second, or of those of the whole run where a
            measurement has no steady rate.
        rate_low: Lower end of the interval of `rate`; None where it is not known.
        rate_high: Upper end of that interval.
        steady: Whether every rate is steady, so that start-up is kept apart.
        speedup: Cost of the baseline over `cost`; None without a baseline.
        speedup_low: Lower end of the interval of `speedup`; None where the noise is not known.
        speedup_high: Upper end of that interval.
        verdict: ``faster``, ``slower``, ``same`` or ``cannot_tell`` beside the baseline; None if that was not tested,
            because each configuration was measured once.
        tied: Whether it is not told apart from the best of the step; None where the noise is not known.
        doubts: Reasons for which the measurements that count should have been repeated once more.
    """

    measurements: int
    blocks: int = 1
    cost: float | None = None
    predicted_sec: float | None = None
    rate: float | None = None
    rate_low: float | None = None
    rate_high: float | None = None
    steady: bool = True
    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None
    verdict: str | None = None
    tied: bool | None = None
    doubts: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the standing as result files hold it; `speedup` stands beside it there."""
        values = asdict(self)
        del values["speedup"]
        return {**values, "doubts": list(self.doubts)}

    @classmethod
    def from_json(cls, values: Any, speedup: float | None) -> Standing:
        """Read what :meth:`to_json` returned.

        Args:
            values: The JSON.
            speedup: The speedup that stands beside it.

        Raises:
            TelemetryFormatError: It is something else.
        """
        if not isinstance(values, Mapping):
            raise TelemetryFormatError("standing must be an object")
        for name, types in _TYPES.items():
            require_type(values.get(name), types, f"standing.{name}")
        known: dict[str, Any] = {name: values.get(name) for name in _TYPES}
        return cls(**{**known, "doubts": tuple(map(str, known["doubts"] or ())), "speedup": speedup})


_NUMBERS: Final = ("cost", "predicted_sec", "rate", "rate_low", "rate_high", "speedup_low", "speedup_high")
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("measurements", "blocks"), (int,)),
    **dict.fromkeys(_NUMBERS, (int, float, type(None))),
    "steady": (bool,),
    "verdict": (str, type(None)),
    "tied": (bool, type(None)),
    "doubts": (list, type(None)),
}
