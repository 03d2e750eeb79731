# SPDX-License-Identifier: MIT
"""The result files of a folder, made from its journal. Pure: the same journal gives the same files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from virnuc_profiler.sweep.plan.conditions import Conditions, Difference
from virnuc_profiler.sweep.plan.configuration import KNOBS
from virnuc_profiler.sweep.plan.steps import BEST_CONFIG_FILE, MIN_PACKING, STEPS, Step, plan
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.results.choice import Choice, select_overall
from virnuc_profiler.sweep.results.document import BestConfiguration, Document, Projection
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.result_files import make_document
from virnuc_profiler.sweep.results.sweep_record import SweepRecord, Trial
from virnuc_profiler.telemetry.rates import PROJECTED_SEQUENCES, projected_hours, steady_projected_hours

NO_CHOICE = "no configuration has succeeded"


class Documents:
    """The documents of one sweep, with those of earlier sweeps under the same conditions.

    The document of a step that this sweep has not run comes from the last sweep that has. It counts for comparisons
    (the baseline, the choice of the best) if its conditions are the same.

    Args:
        records: The sweeps of the folder up to this one, which is the last.
    """

    def __init__(self, records: Sequence[SweepRecord]) -> None:
        self._records = records
        self._record = records[-1]
        self._steps = plan(self._record.plan.grid)

    def files(self) -> dict[str, Document | BestConfiguration | None]:
        """Return every result file by its name; None for one that must be removed because it is out of date."""
        found: dict[str, Document | BestConfiguration | None] = {}
        for step in STEPS:
            if self._owner(step.name) is not None or step.name == "validation":
                found[step.file_name] = self.comparable(step.name)
        validation = self.comparable("validation")
        found[BEST_CONFIG_FILE] = None if validation is None or self.is_overtaken() else self.best(validation)
        return found

    def is_overtaken(self) -> bool:
        """Return whether a step has newer results than the validation, so that another configuration may be best."""
        owners = [self._owner(name) for name in ("validation", *self._steps) if not self.differences(name)]
        places = [self._records.index(owner) for owner in owners if owner is not None]
        return bool(places) and (owners[0] is None or places[0] < max(places))

    def complete(self) -> bool:
        """Return whether everything that this sweep planned is done."""
        if self._is_vain():
            return True
        own = [self.step(name) if self._record.has(name) else None for name in self._record.plan.steps]
        return all(document is not None and document.complete for document in own)

    def step(self, name: str) -> Document | None:
        """Return the document of a step; None if the step was never run."""
        if name == "validation" and self._is_vain():
            return self._vain_validation()
        if self._record.has(name):
            return self._validation() if name == "validation" else self._measured(name)
        return Documents(self._records[:-1]).step(name) if len(self._records) > 1 else None

    def best(self, validation: Document) -> BestConfiguration | None:
        """Return the recommendation that a validation supports; None if nothing was validated."""
        if not validation.results or validation.choice is None:
            return None
        owner = self._owner("validation")
        assert owner is not None  # it has a result
        return BestConfiguration(
            created=validation.created,
            choice=validation.choice,
            validation=validation.results[0],
            projection=validation.projection,
            conditions=replace(validation.conditions, workload=owner.plan.workload.to_json()),
            validation_workload=validation.conditions.workload,
        )

    def baseline(self) -> Result | None:
        """Return the baseline of this sweep, or that of the last earlier sweep if it can be compared."""
        document = self.comparable("baseline")
        return None if document is None else document.results[0]

    def comparable(self, name: str) -> Document | None:
        """Return the document of a step, if the last sweep that ran it did so under these conditions."""
        return None if self.differences(name) else self.step(name)

    def differences(self, name: str) -> list[Difference]:
        """Return what keeps the document of a step from being compared with this sweep's results."""
        owner = self._owner(name)
        if owner is None or owner is self._record:
            return []
        found = self._record.current_conditions.differences(owner.current_conditions)
        return found + self._baseline_differences(owner) if name == "baseline" else found

    def _baseline_differences(self, owner: SweepRecord) -> list[Difference]:
        """Return the knobs in which the baseline of an earlier sweep differs: a list changes that of its knob."""
        then, now = (plan(record.plan.grid)["baseline"].base for record in (owner, self._record))
        return [
            Difference(name, getattr(then, name), getattr(now, name))
            for name in KNOBS
            if getattr(then, name) != getattr(now, name)
        ]

    def choice(self) -> Choice | None:
        """Return the best configuration of all steps that can be compared; None if none has succeeded."""
        names = [name for name in self._steps if name != "validation"]
        documents = [document for name in names if (document := self.comparable(name)) is not None]
        return select_overall({document.step: document.results for document in documents}, MIN_PACKING)

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
        if choice is None or choice.configuration is None:
            return None
        trial = self._record.last_trial("validation", choice.configuration)
        if trial is None:
            return None
        document = self._document(
            self._steps["validation"],
            [trial],
            None,  # the baseline was measured on another workload
            planned=1,
            projection=_projection(trial.result, self._record.plan.validation_workload),
        )
        packing = trial.result.packing_efficiency
        return replace(document, choice=choice.after_validation(document.constraint_met, packing, MIN_PACKING))

    def _is_vain(self) -> bool:
        """Return whether all other steps are done and none has a configuration to validate."""
        steps = self._record.plan.steps
        others = [self._steps[name] for name in steps if name != "validation"]
        return (
            "validation" in steps
            and bool(self._record.trials)
            and all(self._record.last_trial(step.name, config) for step in others for config in step.configurations())
            and self.choice() is None
        )

    def _vain_validation(self) -> Document:
        choice = Choice(reason=NO_CHOICE)
        return self._document(self._steps["validation"], [], self.baseline(), planned=1, choice=choice)

    def _document(
        self,
        step: Step,
        trials: Sequence[Trial],
        baseline: Result | None,
        *,
        planned: int,
        choice: Choice | None = None,
        projection: Projection | None = None,
    ) -> Document:
        record = self._record
        conditions = record.current_conditions
        workload = record.plan.workload_of(step.name) if trials else record.plan.workload
        return make_document(
            step,
            replace(conditions, workload=workload.to_json()),
            [self._marked(trial, conditions) for trial in trials],
            baseline,
            planned=planned,
            created=max((trial.finished for trial in trials or record.trials), default=record.started),
            choice=choice,
            projection=projection,
        )

    def _marked(self, trial: Trial, conditions: Conditions) -> Result:
        """Return the result of a trial; one of other conditions, which ``--allow-mixed`` lets in, names them."""
        differences = conditions.differences(self._record.conditions[trial.conditions], workload=False)
        differences += self._model_differences(trial)
        if not differences:
            return trial.result
        under = {difference.name: difference.then for difference in differences}
        return replace(trial.result, measured_under=under)

    def _model_differences(self, trial: Trial) -> list[Difference]:
        """Return how the model of a trial differs from the last one with the same values of its knobs."""
        values = trial.configuration.values("model")
        same = [other.result for other in self._record.trials if other.configuration.values("model") == values]
        last = next((result.model for result in reversed(same) if result.succeeded and result.model), None)
        if last is None or trial.result.model is None or not trial.result.succeeded:
            return []
        return Conditions({}, {}, last, {}).differences(Conditions({}, {}, trial.result.model, {}))


def _projection(result: Result, workload: Workload) -> Projection | None:
    if not result.succeeded or result.interrupted or result.elapsed_sec is None:
        return None
    hours = projected_hours(PROJECTED_SEQUENCES, (result.passes or 1) * workload.num_sequences, result.elapsed_sec)
    steady_h = steady_projected_hours(result.start_up_sec, result.steady_sequences_per_sec)
    return Projection(PROJECTED_SEQUENCES, hours, steady_h, *_projected_interval(result, steady_h))


def _projected_interval(result: Result, steady_h: float | None) -> tuple[float | None, float | None]:
    """Return the prediction interval of the hours of a large job of sequences like those that were run."""
    from virnuc_profiler.analysis.projection.job_time import interval_of_hours  # needs NumPy, which --help does not
    from virnuc_profiler.analysis.projection.run_pace import pace_of_result

    pace = pace_of_result(
        result.steady_tokens_per_sec, result.start_up_sec, result.interval, result.measured_sec, result.gpu_util
    )
    if steady_h is None or pace is None or pace.own_half_width is None:
        return None, None
    return interval_of_hours(steady_h, pace)
