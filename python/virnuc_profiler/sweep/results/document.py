# SPDX-License-Identifier: MIT
"""What a step has found, and what a sweep recommends: the records behind the result files.

In JSON, ``schema_version``, ``kind``, ``step``, ``created`` and ``complete`` say what a document is; ``machine``,
``versions``, ``workload``, ``model`` and ``settings`` are its conditions; ``grid`` and ``planned`` say what was to be
measured; ``baseline`` is the result that speedups refer to; ``results`` has one entry for each configuration that was
tried or predicted not to fit; ``best`` is one of them, and ``constraint_met`` says whether it reaches the required
packing efficiency (null where none is required or nothing succeeded). The files of the validation and of the best
configuration agree on that; there, ``constraint_met_in_steps`` says whether the steps before reached it. ``target``
names any other target than the built-in one, and defines its knobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.plan.steps import ALL_STEPS, MIN_PACKING, Grid, grid_from_json
from virnuc_profiler.sweep.results.choice import Choice
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.sweep_migrations import VERSION
from virnuc_profiler.sweep.results.verdicts.confirmation import Confirmation
from virnuc_profiler.targets.knobs.configuration import KnobSet
from virnuc_profiler.telemetry.typed_records import require_type

STEP_KIND: Final = "virnuc_profiler sweep step"
BEST_KIND: Final = "virnuc_profiler best configuration"

_NUMBER: Final = (int, float, type(None))


@dataclass(frozen=True, slots=True)
class Projection:
    """How long a large job would take.

    Attributes:
        sequences: Sequences of the job.
        hours: Hours at the rate of the whole measured run, its start-up included; None if there is no rate.
        steady_hours: Hours with one start-up, then at the rate after warm-up; None if that rate was not measured.
        low_hours: Lower end of the prediction interval of `steady_hours`; None if it is not known.
        high_hours: Upper end of that interval; None if it is not known.
    """

    sequences: int
    hours: float | None
    steady_hours: float | None = None
    low_hours: float | None = None
    high_hours: float | None = None

    @classmethod
    def from_json(cls, values: Any) -> Projection | None:
        """Read a projection, or None.

        Raises:
            TelemetryFormatError: It is neither null nor a projection.
        """
        if values is None:
            return None
        _require_object(values, "projection")
        require_type(values.get("sequences"), (int,), "projection.sequences")
        names = ("hours", "steady_hours", "low_hours", "high_hours")
        for name in names:
            require_type(values.get(name), _NUMBER, f"projection.{name}")
        return cls(values["sequences"], *map(values.get, names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a step has found so far.

    Attributes:
        step: Name of the step.
        created: Time of the last result, ISO 8601.
        complete: Whether everything that was planned was measured.
        conditions: Conditions of the results, with the workload.
        grid: Values that the step tries.
        planned: Number of configurations that the step measures.
        min_packing: Packing efficiency that the best must reach, if one does; None if any will do.
        baseline: Result that speedups refer to; None if there is none.
        results: One result for each configuration that was tried, in the order of the grid.
        best: The best of `results`; None if none succeeded.
        constraint_met: Whether `best` reaches `min_packing`; None where that says nothing.
        choice: Why the validation runs its configuration; None in other steps.
        projection: Projected time of a large job; None in other steps, and if the validation failed.
        objective: What `best` minimizes.
        repeats: Number of blocks in which each configuration is measured.
        took_sec: Seconds that the step's trials have taken; None in older files.
        confirmation: What the confirmation has shown; None in other steps.
        extra: Keys that this version does not know, kept as they were read.
    """

    step: str
    created: str
    complete: bool
    conditions: Conditions
    grid: Grid
    planned: int
    min_packing: float | None
    baseline: Result | None
    results: tuple[Result, ...]
    best: Result | None
    constraint_met: bool | None
    choice: Choice | None = None
    projection: Projection | None = None
    objective: Objective = field(default_factory=Objective)
    repeats: int = 1
    took_sec: float | None = None
    confirmation: Confirmation | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def knobs(self) -> KnobSet:
        """The knobs of the target that was measured."""
        return self.conditions.knobs

    def to_json(self) -> dict[str, Any]:
        """Return the document as result files hold it."""
        validated: dict[str, Any] = {}
        if self.choice is not None:
            validated = {"selection": self.choice.to_json(), "projection": _projection_json(self.projection)}
        if self.confirmation is not None:
            validated["confirmation"] = self.confirmation.to_json()
        return {
            "kind": STEP_KIND,
            "schema_version": VERSION,
            "step": self.step,
            "created": self.created,
            "complete": self.complete,
            **self.conditions.to_json(),
            "grid": {name: list(values) for name, values in self.grid.items()},
            "planned": self.planned,
            "min_packing": self.min_packing,
            "objective": self.objective.to_json(),
            "repeats": self.repeats,
            "took_sec": self.took_sec,
            "baseline": None if self.baseline is None else _baseline_json(self.baseline),
            "results": [_compared_json(result) for result in self.results],
            "best": None if self.best is None else _compared_json(self.best),
            "constraint_met": self.constraint_met,
            **validated,
            **self.extra,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Document:
        """Read the JSON of a document of this version; unknown keys are kept.

        Raises:
            TelemetryFormatError: A key is missing, or its value is of another form.
        """
        step = values.get("step")
        if step not in ALL_STEPS:
            raise TelemetryFormatError(f"it has no step of the sweep: {step!r}")
        for name, types in _DOCUMENT_TYPES.items():
            require_type(values.get(name), types, name)
        require_type(values.get("repeats"), (int, type(None)), "repeats")
        require_type(values.get("took_sec"), _NUMBER, "took_sec")
        if missing := _DOCUMENT_KEYS - values.keys():
            raise TelemetryFormatError(f"it has no {min(missing)!r}")
        conditions = Conditions.from_json(values)
        knobs = conditions.knobs
        return cls(
            step=step,
            created=values["created"],
            complete=values["complete"],
            conditions=conditions,
            grid=grid_from_json(values["grid"], knobs),
            planned=values["planned"],
            min_packing=values["min_packing"],
            baseline=_result_or_none(values["baseline"], knobs),
            results=tuple(Result.from_json(one, knobs) for one in values["results"]),
            best=_result_or_none(values["best"], knobs),
            constraint_met=values["constraint_met"],
            choice=Choice.from_json(values["selection"], knobs) if "selection" in values else None,
            projection=Projection.from_json(values.get("projection")),
            objective=Objective.from_json(values.get("objective")),
            repeats=values.get("repeats") or 1,
            took_sec=values.get("took_sec"),
            confirmation=Confirmation.from_json(values.get("confirmation"), knobs),
            extra={name: value for name, value in values.items() if name not in _DOCUMENT_KNOWN},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BestConfiguration:
    """What a sweep recommends.

    Attributes:
        created: Time of the validation, ISO 8601.
        choice: The configuration, and why it was chosen.
        validation: Result of the configuration on the longer workload.
        projection: Projected time of a large job; None if the validation failed.
        conditions: Conditions of the results, with the workload of the first four steps.
        validation_workload: Workload of the validation, as JSON.
        required_packing: Packing efficiency that the configuration must reach, if one does; None if any will do.
        pareto: Costs of the configurations that no other one beats in time, energy and memory, as JSON.
        extra: Keys that this version does not know, kept as they were read.
    """

    created: str
    choice: Choice
    validation: Result
    projection: Projection | None
    conditions: Conditions
    validation_workload: Mapping[str, Any]
    required_packing: float | None = MIN_PACKING
    pareto: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the recommendation as ``best_config.json`` holds it."""
        return {
            "kind": BEST_KIND,
            "schema_version": VERSION,
            "created": self.created,
            **self.choice.to_json(),
            "validation": _compared_json(self.validation),
            "projection": _projection_json(self.projection),
            **self.conditions.to_json(),
            "validation_workload": dict(self.validation_workload),
            "required_packing": self.required_packing,
            "pareto": [dict(each) for each in self.pareto],
            **self.extra,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BestConfiguration:
        """Read the JSON of a recommendation of this version; unknown keys are kept.

        Raises:
            TelemetryFormatError: A key is missing, or its value is of another form.
        """
        require_type(values.get("created"), (str,), "created")
        require_type(values.get("validation_workload"), (dict,), "validation_workload")
        require_type(values.get("required_packing"), _NUMBER, "required_packing")
        require_type(values.get("pareto"), (list, type(None)), "pareto")
        if "projection" not in values:
            raise TelemetryFormatError("it has no 'projection'")
        conditions = Conditions.from_json(values)
        choice = Choice.from_json(values, conditions.knobs)
        known = {*_BEST_KEYS, *choice.to_json(), *conditions.to_json()}
        return cls(
            created=values["created"],
            choice=choice,
            validation=Result.from_json(values.get("validation"), conditions.knobs),
            projection=Projection.from_json(values["projection"]),
            conditions=conditions,
            validation_workload=values["validation_workload"],
            required_packing=values.get("required_packing", MIN_PACKING),
            pareto=tuple(values.get("pareto") or ()),
            extra={name: value for name, value in values.items() if name not in known},
        )


_DOCUMENT_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "created": (str,),
    "complete": (bool,),
    "grid": (dict,),
    "planned": (int,),
    "min_packing": _NUMBER,
    "results": (list,),
    "constraint_met": (bool, type(None)),
}
_DOCUMENT_KEYS: Final = frozenset((*_DOCUMENT_TYPES, "baseline", "best"))
_DOCUMENT_KNOWN: Final = frozenset(
    (*_DOCUMENT_KEYS, "kind", "schema_version", "step", "machine", "versions", "workload", "model", "settings",
     "selection", "projection", "objective", "repeats", "took_sec", "confirmation", "target")
)  # fmt: skip
_BEST_KEYS: Final = ("kind", "schema_version", "created", "validation", "projection", "validation_workload", "pareto",
    "required_packing",
)  # fmt: skip


def _compared_json(result: Result) -> dict[str, Any]:
    standing = {} if result.standing is None else {"standing": result.standing.to_json()}
    return {**result.to_json(), "speedup": result.speedup, **standing}


def _baseline_json(baseline: Result) -> dict[str, Any]:
    """Return the baseline, with its speedup of 1 where it comes from a document of its own."""
    alone = baseline.speedup is None and baseline.standing is None
    return baseline.to_json() if alone else _compared_json(baseline)


def _projection_json(projection: Projection | None) -> dict[str, Any] | None:
    return None if projection is None else asdict(projection)


def _result_or_none(values: Any, knobs: KnobSet) -> Result | None:
    return None if values is None else Result.from_json(values, knobs)


def _require_object(values: Any, name: str) -> None:
    if not isinstance(values, Mapping):
        raise TelemetryFormatError(f"{name} must be an object")
