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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.results.result import OOM
from virnuc_profiler.sweep.results.sweep_migrations import VERSION, migrate_entry, require_readable
from virnuc_profiler.sweep.results.sweep_plan import MAX_ATTEMPTS, SweepPlan, Trial
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.typed_records import require_type
from virnuc_profiler.telemetry.values import shown

__all__ = ["SweepPlan", "SweepRecord", "Trial"]

_OUTCOMES: Final = frozenset({OOM, "timeout", "worker_crash", "cuda_error", "error"})
"""Reasons that say something of the configuration. Any other, such as a lost device, does not."""


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
        return replace(conditions, workload=self.plan.workload.to_json(), knobs=self.plan.knobs)

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
    trial = Trial.from_json(entry, record.plan.knobs)
    workload = record.plan.workload_of(trial.step)
    if trial.conditions not in record.conditions or not trial.is_of(trial.step, trial.configuration, workload):
        return False
    record.trials.append(trial)
    return True


def _sections(conditions: Conditions) -> dict[str, Any]:
    """Return the sections of conditions without the workload, which every trial names itself."""
    return {name: section for name, section in conditions.to_json().items() if name != "workload"}
