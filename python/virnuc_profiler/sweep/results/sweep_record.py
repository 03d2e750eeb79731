# SPDX-License-Identifier: MIT
"""What a folder's journal says was measured: sweeps, each with its plan, its circumstances and its trials.

Three kinds of entries. ``sweep`` begins a sweep, and holds all that another process needs to continue it;
``conditions`` names model, machine and versions of what follows; ``trial`` holds one result. A trial names its sweep
and its conditions, so it is never taken for one of another sweep, even where the line between them was damaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.plan.steps import STEP_NAMES
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.results.result_files import Result, is_result
from virnuc_profiler.telemetry.typed_records import require_type
from virnuc_profiler.telemetry.values import shown

JOURNAL_VERSION: Final = "1.0"

_OUTCOMES: Final = frozenset({"OOM", "timeout", "worker_crash", "cuda_error", "error"})
"""Reasons for which a configuration fails by itself. Any other, such as a device that was lost, is bad luck."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What a sweep is to do: enough to continue it.

    Attributes:
        steps: the chosen ones, in order.
        grid: lists of values that replace the default ones.
        workload: of the first four steps.
        validation_workload: of the last.
        options: from which the model and the workloads can be made again; empty if only Python code can do that.
    """

    steps: tuple[str, ...]
    grid: Mapping[str, tuple[int, ...]]
    workload: Workload
    validation_workload: Workload
    options: Mapping[str, Any] = field(default_factory=dict)

    def workload_of(self, step: str) -> Workload:
        """What a step runs."""
        return self.validation_workload if step == "validation" else self.workload

    def as_dict(self) -> dict[str, Any]:
        """As the journal holds it."""
        return {
            "steps": list(self.steps),
            "grid": {name: list(values) for name, values in self.grid.items()},
            "workload": self.workload.as_dict(),
            "validation_workload": self.validation_workload.as_dict(),
            "options": dict(self.options),
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> SweepPlan:
        """From the journal's form."""
        return cls(
            steps=tuple(name for name in STEP_NAMES if name in entry["steps"]),
            grid={name: tuple(values) for name, values in entry["grid"].items()},
            workload=_workload(entry["workload"]),
            validation_workload=_workload(entry["validation_workload"]),
            options=entry["options"],
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """One measurement.

    Attributes:
        step: that it belongs to.
        configuration: that was measured.
        fingerprint: of the file of sequences.
        num_sequences: that were run.
        conditions: key of its circumstances in its :class:`SweepRecord`.
        finished: when, ISO 8601.
        result: as :func:`run_single_gpu_benchmark` returns it, paths relative to the folder.
    """

    step: str
    configuration: Configuration
    fingerprint: str
    num_sequences: int
    conditions: str
    finished: str
    result: Result

    def is_of(self, step: str, configuration: Configuration, workload: Workload) -> bool:
        """Whether this is what was measured."""
        return (self.step, self.configuration, self.fingerprint, self.num_sequences) == (
            step,
            configuration,
            workload.fingerprint,
            workload.num_sequences,
        )


@dataclass
class SweepRecord:
    """One sweep so far.

    Attributes:
        key: by which its trials name it.
        plan: what it is to do.
        started: when, ISO 8601.
        conditions: by key; the last is that of the process which came last.
        trials: in the order in which they ended.
    """

    key: str
    plan: SweepPlan
    started: str
    conditions: dict[str, Conditions] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)

    @property
    def current_conditions(self) -> Conditions:
        """Of the process that came last, with the workload of the first four steps; empty if none has come so far."""
        conditions = next(reversed(self.conditions.values()), Conditions({}, {}, {}, {}))
        return Conditions(
            conditions.machine, conditions.versions, conditions.model, conditions.settings, self.plan.workload.as_dict()
        )

    def has(self, step: str) -> bool:
        """Whether anything of a step was measured."""
        return any(trial.step == step for trial in self.trials)

    def last_trial(self, step: str, configuration: Configuration) -> Trial | None:
        """The last trial of a configuration in a step; None if there is none."""
        workload = self.plan.workload_of(step)
        return next((trial for trial in reversed(self.trials) if trial.is_of(step, configuration, workload)), None)

    def is_finished(self, step: str, configuration: Configuration, limits: Mapping[str, Any]) -> bool:
        """Whether a configuration need not be run (again) in a step.

        It must, if it failed for a reason that says nothing of the configuration, or exceeded a time limit that is
        longer now.

        Args:
            step: in which.
            configuration: which.
            limits: the time limits now, ``timeout_s`` and ``progress_timeout_s``; None or absent for none.
        """
        trial = self.last_trial(step, configuration)
        if trial is None or trial.result["status"] == "success":
            return trial is not None
        if trial.result["reason"] == "timeout":
            hung = (trial.result.get("evidence") or {}).get("deadline") == "hang"
            name = "progress_timeout_s" if hung else "timeout_s"
            then, now = self.conditions[trial.conditions].settings.get(name), limits.get(name)
            return then is None or (now is not None and now <= then)
        return trial.result["reason"] in _OUTCOMES


def conditions_key(conditions: Conditions) -> str:
    """Names conditions by their content."""
    text = json.dumps(_conditions_dict(conditions), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sweep_entry(key: str, plan: SweepPlan, started: str) -> dict[str, Any]:
    """The entry that begins a sweep."""
    return {
        "kind": "sweep",
        "journal_version": JOURNAL_VERSION,
        "sweep": key,
        "started": started,
        **plan.as_dict(),
    }


def conditions_entry(sweep: str, conditions: Conditions) -> dict[str, Any]:
    """The entry that names circumstances."""
    return {
        "kind": "conditions",
        "sweep": sweep,
        "conditions": conditions_key(conditions),
        **_conditions_dict(conditions),
    }


def trial_entry(sweep: str, trial: Trial) -> dict[str, Any]:
    """The entry of a result."""
    return {"kind": "trial", "sweep": sweep, **asdict(trial), "configuration": trial.configuration.as_dict()}


def read_entries(numbered: Sequence[tuple[int, Mapping[str, Any]]], path: Path) -> tuple[list[SweepRecord], list[int]]:
    """The sweeps of a journal.

    Args:
        numbered: its sound entries with their line numbers.
        path: of the journal, for messages.

    Returns:
        The sweeps in their order, and the numbers of the lines that belong to a sweep or to conditions whose own line
        is missing: they cannot be used.

    Raises:
        TelemetryFormatError: an entry is of another version, or does not have its form.
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
            f"{path}, line {number}: it does not have the form of a journal's entry: {shown(str(error))}; "
            "choose another folder, or the version of this program that wrote it"
        ) from None
    return list(records.values()), orphans


def add_entry(records: dict[str, SweepRecord], entry: Mapping[str, Any]) -> bool:
    """Adds what an entry says; False if what it refers to is not there."""
    kind, key = entry["kind"], entry["sweep"]
    if kind == "sweep":
        if entry["journal_version"] != JOURNAL_VERSION:
            raise TelemetryFormatError(
                f"it has version {entry['journal_version']!r}; this version reads {JOURNAL_VERSION!r}"
            )
        require_type(entry["started"], (str,), "started")
        records[key] = SweepRecord(key, SweepPlan.from_dict(entry), entry["started"])
        return True
    record = records.get(key)
    if record is None:
        return False
    if kind == "conditions":
        record.conditions.pop(entry["conditions"], None)  # so that it becomes the last
        record.conditions[entry["conditions"]] = Conditions.from_dict(entry)
        return True
    if kind != "trial":
        raise TelemetryFormatError(f"kind {kind!r} does not exist")
    trial = _trial(entry)
    workload = record.plan.workload_of(trial.step)
    if trial.conditions not in record.conditions or not trial.is_of(trial.step, trial.configuration, workload):
        return False
    record.trials.append(trial)
    return True


def _trial(entry: Mapping[str, Any]) -> Trial:
    if not is_result(entry["result"]) or entry["step"] not in STEP_NAMES:
        raise TelemetryFormatError("its result or its step is not one")
    values = {name: entry[name] for name in Trial.__slots__}
    for name in ("fingerprint", "conditions", "finished"):
        require_type(values[name], (str,), name)
    require_type(values["num_sequences"], (int,), "num_sequences")
    return Trial(**{**values, "configuration": Configuration(**entry["configuration"])})


def _workload(entry: Mapping[str, Any]) -> Workload:
    return Workload(**{**entry, "path": Path(entry["path"])})


def _conditions_dict(conditions: Conditions) -> dict[str, Any]:
    return {name: dict(section) for name, section in asdict(conditions).items() if name != "workload"}
