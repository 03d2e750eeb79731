# SPDX-License-Identifier: MIT
"""The sweeps of a folder's journal, each with its plan, its conditions and its trials.

A journal has three kinds of entries. ``sweep`` begins a sweep and holds all that another process needs to continue it;
``conditions`` names model, machine and versions of the trials that follow; ``trial`` holds one result. A trial names
its sweep and its conditions, so it is never taken for a trial of another sweep, even if a line between them is damaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.plan.objective import Objective
from virnuc_profiler.sweep.plan.steps import STEP_NAMES, Grid, Step, plan
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.results.document import grid_from_json
from virnuc_profiler.sweep.results.result import OOM, Result
from virnuc_profiler.sweep.results.sweep_migrations import VERSION, migrate_entry, require_readable
from virnuc_profiler.telemetry.typed_records import require_type
from virnuc_profiler.telemetry.values import shown

MAX_ATTEMPTS: Final = 3
"""Most measurements of a configuration in a block; the last one stands, and its reasons to repeat it are its flag."""

_OUTCOMES: Final = frozenset({OOM, "timeout", "worker_crash", "cuda_error", "error"})
"""Reasons that say something of the configuration. Any other, such as a lost device, does not."""


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
    """

    steps: tuple[str, ...]
    grid: Grid
    workload: Workload
    validation_workload: Workload
    options: Mapping[str, Any] = field(default_factory=dict)
    repeats: int = 1
    seed: int = 0
    objective: Objective = field(default_factory=Objective)

    def planned_steps(self) -> dict[str, Step]:
        """Return all steps by name, with the lists and the packing efficiency of this plan."""
        return plan(self.grid, self.objective.min_packing)

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
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> SweepPlan:
        """Read the plan in an entry of the journal; older ones say nothing of repeats and objective.

        Raises:
            TelemetryFormatError: A value has another form.
        """
        for name in ("repeats", "seed"):
            require_type(entry.get(name), (int, type(None)), name)
        return cls(
            steps=tuple(name for name in STEP_NAMES if name in entry["steps"]),
            grid=grid_from_json(entry["grid"]),
            workload=Workload.from_json(entry["workload"]),
            validation_workload=Workload.from_json(entry["validation_workload"]),
            options=entry["options"],
            repeats=entry.get("repeats") or 1,
            seed=entry.get("seed") or 0,
            objective=Objective.from_json(entry.get("objective")),
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
    def from_json(cls, entry: Mapping[str, Any]) -> Trial:
        """Read the trial in an entry of the journal.

        Raises:
            TelemetryFormatError: A value has another form.
        """
        if entry["step"] not in STEP_NAMES:
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
            Configuration.from_json(entry["configuration"]),
            entry["fingerprint"],
            entry["num_sequences"],
            entry["conditions"],
            entry["finished"],
            Result.from_json(entry["result"]),
            entry.get("block") or 0,
            entry.get("attempt") or 0,
            entry.get("took_sec"),
            tuple(map(str, entry.get("doubts") or ())),
        )


@dataclass
class SweepRecord:
    """One sweep so far.

    Attributes:
        key: Key by which its trials name it.
        plan: What it measures.
        started: When it began, ISO 8601.
        conditions: Conditions by their key; the last are those of the latest process.
        trials: Trials in the order in which they ended.
    """

    key: str
    plan: SweepPlan
    started: str
    conditions: dict[str, Conditions] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)

    @property
    def current_conditions(self) -> Conditions:
        """The conditions of the latest process, with the workload of the first four steps; empty before the first."""
        conditions = next(reversed(self.conditions.values()), Conditions({}, {}, {}, {}))
        return Conditions(
            conditions.machine, conditions.versions, conditions.model, conditions.settings, self.plan.workload.to_json()
        )

    def has(self, step: str) -> bool:
        """Return whether anything of a step was measured."""
        return any(trial.step == step for trial in self.trials)

    def trials_of(self, step: str, configuration: Configuration) -> list[Trial]:
        """Return the trials of a configuration in a step that stand, in the order of their blocks.

        Of several attempts in a block, that is the last one.
        """
        workload = self.plan.workload_of(step)
        found = {trial.block: trial for trial in self.trials if trial.is_of(step, configuration, workload)}
        return [found[block] for block in sorted(found)]

    def last_trial(self, step: str, configuration: Configuration, block: int | None = None) -> Trial | None:
        """Return the last trial of a configuration in a step; None if there is none.

        Args:
            step: Name of the step.
            configuration: The configuration.
            block: Number of the block; None for the last trial in any block.
        """
        workload = self.plan.workload_of(step)
        found = (trial for trial in reversed(self.trials) if trial.is_of(step, configuration, workload))
        return next((trial for trial in found if block in (None, trial.block)), None)

    def is_finished(self, step: str, configuration: Configuration, limits: Mapping[str, Any], block: int = 0) -> bool:
        """Return whether a configuration need not be run (again) in a block of a step.

        It is run again if it was interrupted, failed for a reason that says nothing of the configuration, or exceeded a
        time limit that is longer now. One that failed in an earlier block need not be run in a later one.

        Args:
            step: Name of the step.
            configuration: The configuration.
            limits: Today's time limits, ``timeout_s`` and ``progress_timeout_s``; None or absent for none.
            block: Number of the block.
        """
        earlier = (self.last_trial(step, configuration, number) for number in range(block))
        if any(trial is not None and not trial.result.succeeded and self._stands(trial, limits) for trial in earlier):
            return True
        trial = self.last_trial(step, configuration, block)
        return trial is not None and self._stands(trial, limits)

    def _stands(self, trial: Trial, limits: Mapping[str, Any]) -> bool:
        """Return whether a trial need not be repeated."""
        if trial.result.succeeded:
            if trial.result.interrupted:
                return False
            return not trial.doubts or trial.attempt + 1 >= MAX_ATTEMPTS
        if trial.result.reason == "timeout":
            hung = (trial.result.evidence or {}).get("deadline") == "hang"
            name = "progress_timeout_s" if hung else "timeout_s"
            then, now = self.conditions[trial.conditions].settings.get(name), limits.get(name)
            return then is None or (now is not None and now <= then)
        return trial.result.reason in _OUTCOMES


def conditions_key(conditions: Conditions) -> str:
    """Return a key that depends only on the content of the conditions."""
    text = json.dumps(_sections(conditions), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sweep_entry(key: str, plan: SweepPlan, started: str) -> dict[str, Any]:
    """Return the entry that begins a sweep."""
    return {
        "kind": "sweep",
        "journal_version": VERSION,
        "sweep": key,
        "started": started,
        **plan.to_json(),
    }


def conditions_entry(sweep: str, conditions: Conditions) -> dict[str, Any]:
    """Return the entry that names conditions."""
    return {
        "kind": "conditions",
        "sweep": sweep,
        "conditions": conditions_key(conditions),
        **_sections(conditions),
    }


def trial_entry(sweep: str, trial: Trial) -> dict[str, Any]:
    """Return the entry of a trial."""
    return {"kind": "trial", "sweep": sweep, **trial.to_json()}


def read_entries(numbered: Sequence[tuple[int, Mapping[str, Any]]], path: Path) -> tuple[list[SweepRecord], list[int]]:
    """Read the sweeps of a journal.

    Args:
        numbered: The sound entries of the journal with their line numbers.
        path: Path of the journal, for messages.

    Returns:
        The sweeps in their order, and the numbers of the lines that belong to a sweep or to conditions whose own line
        is missing: they cannot be used.

    Raises:
        TelemetryFormatError: An entry is of another major version, or has another form.
    """
    records: dict[str, SweepRecord] = {}
    orphans = []
    number = 0
    try:
        for number, entry in numbered:
            if not add_entry(records, entry):
                orphans.append(number)
    except (KeyError, TypeError, ValueError, AttributeError, TelemetryFormatError) as error:
        raise TelemetryFormatError(
            f"{path}, line {number}: this is not an entry of a journal: {shown(str(error))}; "
            "choose another folder, or use the version of this program that wrote it"
        ) from None
    return list(records.values()), orphans


def add_entry(records: dict[str, SweepRecord], entry: Mapping[str, Any]) -> bool:
    """Add what an entry says.

    Args:
        records: Sweeps by their key, which the entry is added to.
        entry: The entry, of this version or an older one of the same major number.

    Returns:
        False if the entry refers to a sweep or conditions that are not there.
    """
    entry = migrate_entry(entry)
    kind, key = entry["kind"], entry["sweep"]
    if kind == "sweep":
        require_readable(entry["journal_version"], "the journal")
        require_type(entry["started"], (str,), "started")
        records[key] = SweepRecord(key, SweepPlan.from_json(entry), entry["started"])
        return True
    record = records.get(key)
    if record is None:
        return False
    if kind == "conditions":
        record.conditions.pop(entry["conditions"], None)  # so that it becomes the last
        record.conditions[entry["conditions"]] = Conditions.from_json(entry)
        return True
    if kind != "trial":
        raise TelemetryFormatError(f"kind {kind!r} does not exist")
    trial = Trial.from_json(entry)
    workload = record.plan.workload_of(trial.step)
    if trial.conditions not in record.conditions or not trial.is_of(trial.step, trial.configuration, workload):
        return False
    record.trials.append(trial)
    return True


def _sections(conditions: Conditions) -> dict[str, Any]:
    """Return the sections of conditions without the workload, which every trial names itself."""
    return {name: section for name, section in conditions.to_json().items() if name != "workload"}
