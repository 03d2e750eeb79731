# SPDX-License-Identifier: MIT
"""The result files of a folder, made from its journal. Pure: the same journal gives the same files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from virnuc_profiler.sweep.plan.conditions import Conditions, Difference
from virnuc_profiler.sweep.plan.steps import BEST_CONFIG_FILE, MIN_PACKING, STEPS, Step, plan
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.results.choice import Choice, choose_overall
from virnuc_profiler.sweep.results.result_files import BEST_KIND, SCHEMA_VERSION, Document, Result, step_document
from virnuc_profiler.sweep.results.sweep_record import SweepRecord, Trial
from virnuc_profiler.telemetry.rates import PROJECTED_SEQUENCES, projected_hours

NO_CHOICE = "no configuration has succeeded"


class Documents:
    """What one sweep of a journal has found, with what earlier ones found under the same conditions.

    A step that this sweep has not run is that of the last sweep which has; it counts for comparisons (the baseline,
    the choice of the best) if its conditions are the same.

    Args:
        records: the sweeps of the folder up to that one, which is the last.
    """

    def __init__(self, records: Sequence[SweepRecord]) -> None:
        self._records = records
        self._record = records[-1]
        self._steps = plan(self._record.plan.grid)

    def files(self) -> dict[str, Document | None]:
        """Every result file by its name; None for one that must not be there, since what it says is of the past."""
        found: dict[str, Document | None] = {}
        for step in STEPS:
            if self._owner(step.name) is not None or step.name == "validation":
                found[step.file_name] = self.comparable(step.name)
        validation = found["optimal_validation.json"]
        found[BEST_CONFIG_FILE] = None if validation is None or self.is_overtaken() else self.best(validation)
        return found

    def is_overtaken(self) -> bool:
        """Whether a step has newer results than the validation, so that another configuration may be the best."""
        owners = [self._owner(name) for name in ("validation", *self._steps) if not self.differences(name)]
        places = [self._records.index(owner) for owner in owners if owner is not None]
        return bool(places) and (owners[0] is None or places[0] < max(places))

    def complete(self) -> bool:
        """Whether everything that this sweep was to do is done."""
        if self._is_vain():
            return True
        own = [self.step(name) if self._record.has(name) else None for name in self._record.plan.steps]
        return all(document is not None and document["complete"] for document in own)

    def step(self, name: str) -> Document | None:
        """The document of a step; None if it was never run."""
        if name == "validation" and self._is_vain():
            return self._vain_validation()
        if self._record.has(name):
            return self._validation() if name == "validation" else self._measured(name)
        return Documents(self._records[:-1]).step(name) if len(self._records) > 1 else None

    def best(self, validation: Document) -> Document | None:
        """The recommended configuration; None if nothing was validated."""
        if not validation["results"]:
            return None
        sections = ("machine", "versions", "model", "settings")
        owner = self._owner("validation")
        assert owner is not None  # it has a result
        return {
            "kind": BEST_KIND,
            "schema_version": SCHEMA_VERSION,
            "created": validation["created"],
            **validation["selection"],
            "validation": validation["results"][0],
            "projection": validation["projection"],
            **{section: validation[section] for section in sections},
            "workload": owner.plan.workload.as_dict(),
            "validation_workload": validation["workload"],
        }

    def baseline(self) -> Result | None:
        """What speedups refer to: the baseline of this sweep, or the last earlier one if it can be compared."""
        document = self.comparable("baseline")
        return None if document is None else document["results"][0]

    def comparable(self, name: str) -> Document | None:
        """The document of a step, if this sweep or the last one that ran it has one of the same conditions."""
        return None if self.differences(name) else self.step(name)

    def differences(self, name: str) -> list[Difference]:
        """What keeps the document of a step from being compared with this sweep's results."""
        owner = self._owner(name)
        if owner is None or owner is self._record:
            return []
        return self._record.current_conditions.differences(owner.current_conditions)

    def choice(self) -> Choice | None:
        """The best configuration of all steps that can be compared; None if none has succeeded."""
        names = [name for name in self._steps if name != "validation"]
        documents = [document for name in names if (document := self.comparable(name)) is not None]
        return choose_overall(documents, MIN_PACKING)

    def _owner(self, name: str) -> SweepRecord | None:
        return next((record for record in reversed(self._records) if record.has(name)), None)

    def _measured(self, name: str) -> Document:
        step = self._steps[name]
        configurations = step.configurations()
        trials = [trial for config in configurations if (trial := self._record.last_trial(name, config)) is not None]
        baseline = trials[0].result if name == "baseline" else self.baseline()
        return self._document(step, trials, baseline, planned=len(configurations))

    def _validation(self) -> Document | None:
        choice = self.choice()
        trial = None if choice is None else self._record.last_trial("validation", choice.candidate.configuration)
        if choice is None or trial is None:
            return None
        workload = self._record.plan.validation_workload
        return self._document(
            self._steps["validation"],
            [trial],
            None,  # the baseline was measured on another workload
            planned=1,
            selection=choice.as_dict(),
            projection=_projection(trial.result, workload),
        )

    def _is_vain(self) -> bool:
        """Whether this sweep has nothing to validate, all of its steps being done."""
        steps = self._record.plan.steps
        others = [self._steps[name] for name in steps if name != "validation"]
        return (
            "validation" in steps
            and bool(self._record.trials)
            and all(self._record.last_trial(step.name, config) for step in others for config in step.configurations())
            and self.choice() is None
        )

    def _vain_validation(self) -> Document:
        selection = {"reason": NO_CHOICE}
        return self._document(
            self._steps["validation"], [], self.baseline(), planned=1, selection=selection, projection=None
        )

    def _document(self, step: Step, trials: Sequence[Trial], baseline: Result | None, **more: Any) -> Document:
        record = self._record
        conditions = record.current_conditions
        workload = record.plan.workload_of(step.name) if trials else record.plan.workload
        return step_document(
            step,
            replace(conditions, workload=workload.as_dict()),
            [self._marked(trial, conditions) for trial in trials],
            baseline,
            created=max((trial.finished for trial in trials or record.trials), default=record.started),
            **more,
        )

    def _marked(self, trial: Trial, conditions: Conditions) -> Mapping[str, Any]:
        """Its result; one of other conditions, which only ``--allow-mixed`` lets in, says what they were."""
        differences = conditions.differences(self._record.conditions[trial.conditions], workload=False)
        if not differences:
            return trial.result
        return {**trial.result, "measured_under": {difference.name: difference.then for difference in differences}}


def _projection(result: Result, workload: Workload) -> dict[str, Any] | None:
    if result["status"] != "success":
        return None
    hours = projected_hours(PROJECTED_SEQUENCES, workload.num_sequences, result["elapsed_sec"])
    return {"sequences": PROJECTED_SEQUENCES, "hours": hours}
