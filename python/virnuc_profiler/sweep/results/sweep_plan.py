# SPDX-License-Identifier: MIT
"""The plan of a sweep and its trials, as the journal holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.plan.steps import ALL_STEPS, Grid, Step, grid_from_json, plan
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, Configuration, KnobSet
from virnuc_profiler.telemetry.typed_records import require_type
from virnuc_profiler.telemetry.values import shown

MAX_ATTEMPTS: Final = 3
"""Most measurements of a configuration in a block; the last one stands, and its reasons to repeat it are its flag."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """The plan of a sweep: enough to continue it.

    Attributes:
        steps: Names of the chosen steps, in order.
        grid: Lists of values that replace the default ones.
        workload: Workload of the first four steps.
        validation_workload: Workload of the validation.
        options: Options from which model and workloads can be made again; empty if only Python code can do that.
        repeats: Number of blocks in which each step measures all of its configurations.
        seed: Seed of the order within these blocks.
        objective: What is minimized.
        budget_sec: Seconds that a search may take with all that follows; None for no limit.
        knobs: Knobs of the target; JSON names them unless they are those of the built-in one.
    """

    steps: tuple[str, ...]
    grid: Grid
    workload: Workload
    validation_workload: Workload
    options: Mapping[str, Any] = field(default_factory=dict)
    repeats: int = 1
    seed: int = 0
    objective: Objective = field(default_factory=Objective)
    budget_sec: float | None = None
    knobs: KnobSet = BUILTIN_KNOBS

    def planned_steps(self) -> dict[str, Step]:
        """Return all steps by name, with the lists and the packing efficiency of this plan."""
        return plan(self.grid, self.objective.min_packing, self.knobs, self.objective.usual_packing)

    def workload_of(self, step: str) -> Workload:
        """Return the workload that a step runs."""
        return self.validation_workload if step == "validation" else self.workload

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the journal holds it."""
        return {
            "steps": list(self.steps),
            "grid": {name: list(values) for name, values in self.grid.items()},
            "workload": self.workload.to_json(),
            "validation_workload": self.validation_workload.to_json(),
            "options": dict(self.options),
            "repeats": self.repeats,
            "seed": self.seed,
            "objective": self.objective.to_json(),
            "budget_sec": self.budget_sec,
            **({} if self.knobs.is_builtin else {"target": self.knobs.to_json()}),
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> SweepPlan:
        """Read the plan in an entry of the journal; older ones say nothing of repeats and objective.

        Raises:
            TelemetryFormatError: A value has another form.
        """
        for name in ("repeats", "seed"):
            require_type(entry.get(name), (int, type(None)), name)
        require_type(entry.get("budget_sec"), (int, float, type(None)), "budget_sec")
        knobs = KnobSet.from_json(entry.get("target"))
        return cls(
            steps=tuple(name for name in ALL_STEPS if name in entry["steps"]),
            grid=grid_from_json(entry["grid"], knobs),
            workload=Workload.from_json(entry["workload"]),
            validation_workload=Workload.from_json(entry["validation_workload"]),
            options=entry["options"],
            repeats=entry.get("repeats") or 1,
            seed=entry.get("seed") or 0,
            objective=Objective.from_json(entry.get("objective")),
            budget_sec=entry.get("budget_sec"),
            knobs=knobs,
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """One measurement of one configuration in a sweep.

    Attributes:
        step: Name of the step that it belongs to.
        configuration: Configuration that was measured.
        fingerprint: Fingerprint of the file of sequences.
        num_sequences: Number of sequences that were run.
        conditions: Key of its conditions in its :class:`SweepRecord`.
        finished: When it ended, ISO 8601.
        result: What came of it; paths are relative to the folder.
        block: Number of the block that it belongs to, from 0 on.
        attempt: Number of earlier measurements of the configuration in that block.
        took_sec: Seconds that it took with its start and its clean-up; None in journals of older versions.
        doubts: Reasons to measure it again, such as another process on the device; empty if it stands.
    """

    step: str
    configuration: Configuration
    fingerprint: str
    num_sequences: int
    conditions: str
    finished: str
    result: Result
    block: int = 0
    attempt: int = 0
    took_sec: float | None = None
    doubts: tuple[str, ...] = ()

    def is_of(self, step: str, configuration: Configuration, workload: Workload) -> bool:
        """Return whether this trial measured that configuration of that step on that workload."""
        return (self.step, self.configuration, self.fingerprint, self.num_sequences) == (
            step,
            configuration,
            workload.fingerprint,
            workload.num_sequences,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the trial as the journal holds it."""
        return {
            "step": self.step,
            "configuration": self.configuration.to_json(),
            "fingerprint": self.fingerprint,
            "num_sequences": self.num_sequences,
            "conditions": self.conditions,
            "finished": self.finished,
            "result": self.result.to_json(),
            "block": self.block,
            "attempt": self.attempt,
            "took_sec": self.took_sec,
            "doubts": list(self.doubts),
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], knobs: KnobSet = BUILTIN_KNOBS) -> Trial:
        """Read the trial in an entry of the journal.

        Args:
            entry: The entry.
            knobs: Knobs of the sweep's target.

        Raises:
            TelemetryFormatError: A value has another form.
        """
        if entry["step"] not in ALL_STEPS:
            raise TelemetryFormatError(f"step {shown(entry['step'])} does not exist")
        for name in ("fingerprint", "conditions", "finished"):
            require_type(entry[name], (str,), name)
        require_type(entry["num_sequences"], (int,), "num_sequences")
        for name in ("block", "attempt"):
            require_type(entry.get(name), (int, type(None)), name)
        require_type(entry.get("took_sec"), (int, float, type(None)), "took_sec")
        require_type(entry.get("doubts"), (list, type(None)), "doubts")
        return cls(
            entry["step"],
            Configuration.from_json(entry["configuration"], knobs),
            entry["fingerprint"],
            entry["num_sequences"],
            entry["conditions"],
            entry["finished"],
            Result.from_json(entry["result"], knobs),
            entry.get("block") or 0,
            entry.get("attempt") or 0,
            entry.get("took_sec"),
            tuple(map(str, entry.get("doubts") or ())),
        )
