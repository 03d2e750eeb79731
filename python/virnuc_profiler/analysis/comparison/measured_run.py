# SPDX-License-Identifier: MIT
"""What a comparison uses of a run, and a side of a comparison. Both can be kept as JSON, for baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from virnuc_profiler.analysis.comparison.metrics import METRICS_BY_NAME
from virnuc_profiler.analysis.confidence.rate_interval import RateInterval
from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.typed_records import require_type
from virnuc_profiler.telemetry.values import shown

ConfigurationKey = tuple[tuple[str, Any], ...]
"""Knobs and their values, in the order of the names."""

_SMALLEST: Final = 1e-100
"""Figures beyond this and its reciprocal are no measurements, and their ratios overflow."""

_TEXT: Final = (str, type(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRun:
    """One run, or one trial of a sweep.

    Attributes:
        source: Name of its file, or of the trial.
        configuration: Values of the knobs by name; empty if they are not known.
        facts: What it ran on and with, by dotted names such as ``versions.torch``. Unknown facts are missing.
        values: Values of the metrics by name; a metric that was not measured is missing.
        steady: Steady rate in tokens/s with its interval; None if the batches do not tell.
        failure: Kind of failure, such as ``OOM``; None if the run succeeded.
        warnings: Sentences on what makes its values doubtful.
    """

    source: str
    configuration: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    steady: RateInterval | None = None
    failure: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def configuration_key(self) -> ConfigurationKey:
        """The configuration as a key that does not depend on the order of the knobs."""
        return tuple(sorted(self.configuration.items()))

    def to_json(self) -> dict[str, Any]:
        """Return the run as a baseline holds it."""
        return {
            "source": self.source,
            "configuration": dict(self.configuration),
            "facts": dict(self.facts),
            "values": dict(self.values),
            "steady_interval": None if self.steady is None else self.steady.to_json(),
            "failure": self.failure,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, values: Any) -> MeasuredRun:
        """Read what :meth:`to_json` returned; metrics that this version does not know are left out.

        Raises:
            TelemetryFormatError: A key is missing, or its value is of another form.
        """
        require_type(values, (dict,), "a run")
        for name, types in {"source": (str,), "configuration": (dict,), "facts": (dict,), "values": (dict,)}.items():
            require_type(values.get(name), types, name)
        require_type(values.get("failure"), _TEXT, "failure")
        require_type(values.get("warnings", []), (list,), "warnings")
        figures = {name: value for name, value in values["values"].items() if name in METRICS_BY_NAME}
        if wrong := [name for name, value in figures.items() if not is_measured(value)]:
            raise TelemetryFormatError(f"values.{wrong[0]} is {shown(figures[wrong[0]])}, must be a positive number")
        if wrong := [name for name, value in values["configuration"].items() if not is_scalar(value)]:
            raise TelemetryFormatError(f"configuration.{wrong[0]} must be a text, a number or null")
        steady = values.get("steady_interval")
        return cls(
            source=values["source"],
            configuration=values["configuration"],
            facts=values["facts"],
            values=figures,
            steady=None if steady is None else read_interval(steady),
            failure=values.get("failure"),
            warnings=tuple(map(str, values.get("warnings", []))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a comparison: a run, its repeats, or the trials of a sweep and of its repeats.

    Attributes:
        name: Name of the file, folder or baseline.
        runs: The runs, or the trials.
        is_sweep: Whether these are the trials of sweeps, of several configurations.
        recommended: Configuration that the sweep recommends; None if it recommends none, or is no sweep.
    """

    name: str
    runs: tuple[MeasuredRun, ...]
    is_sweep: bool = False
    recommended: Mapping[str, Any] | None = None

    def with_configuration(self, configuration: Mapping[str, Any]) -> Side:
        """Return the runs that have a configuration, as repeats.

        Args:
            configuration: Values of the knobs by name.
        """
        key = MeasuredRun(source="", configuration=configuration).configuration_key
        return Side(name=self.name, runs=tuple(run for run in self.runs if run.configuration_key == key))

    def succeeded(self) -> tuple[MeasuredRun, ...]:
        """Return the runs that did not fail."""
        return tuple(run for run in self.runs if run.failure is None)

    def to_json(self) -> dict[str, Any]:
        """Return the side as a baseline holds it."""
        return {
            "name": self.name,
            "is_sweep": self.is_sweep,
            "recommended": None if self.recommended is None else dict(self.recommended),
            "runs": [run.to_json() for run in self.runs],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Side:
        """Read what :meth:`to_json` returned.

        Raises:
            TelemetryFormatError: A key is missing, or its value is of another form.
        """
        require_type(values.get("name"), (str,), "name")
        require_type(values.get("is_sweep"), (bool,), "is_sweep")
        require_type(values.get("recommended"), (dict, type(None)), "recommended")
        require_type(values.get("runs"), (list,), "runs")
        runs: Sequence[Any] = values["runs"]
        return cls(
            name=values["name"],
            is_sweep=values["is_sweep"],
            recommended=values.get("recommended"),
            runs=tuple(map(MeasuredRun.from_json, runs)),
        )


def is_scalar(value: Any) -> bool:
    """Return whether a value from a file can be the value of a knob.

    Args:
        value: Value of unknown origin.
    """
    return value is None or isinstance(value, str | int | float)


def is_measured(value: Any) -> bool:
    """Return whether a value from a file is a figure that can be compared by a ratio.

    Args:
        value: Value of unknown origin.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and _SMALLEST < value < 1 / _SMALLEST


def read_interval(values: Any) -> RateInterval:
    """Read the JSON of a rate and its interval from a file of unknown origin.

    Args:
        values: What :meth:`RateInterval.to_json` returned.

    Raises:
        TelemetryFormatError: A key is missing, or its value is of another form.
    """
    try:
        found = RateInterval.from_json(values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TelemetryFormatError(f"steady_interval cannot be read: {error}") from None
    for name in ("rate", "low", "high"):
        if (value := getattr(found, name)) is not None and not is_measured(value):
            raise TelemetryFormatError(f"steady_interval.{name} is {shown(value)}, must be a positive number or null")
    require_type(found.state, (str,), "steady_interval.state")
    require_type(found.confidence, (float, int), "steady_interval.confidence")
    require_type(found.blocks, (int,), "steady_interval.blocks")
    return found
