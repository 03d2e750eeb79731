# SPDX-License-Identifier: MIT
"""The result files of a folder, made from its journal. Pure: the same journal gives the same files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from virnuc_profiler.sweep.plan.conditions import Conditions, Difference
from virnuc_profiler.sweep.plan.steps import BEST_CONFIG_FILE, GRID_STEPS, RANKED_STEPS, SEARCH, STEPS, Grid, Step
from virnuc_profiler.sweep.results.choice import Choice
from virnuc_profiler.sweep.results.document import BestConfiguration, Document
from virnuc_profiler.sweep.results.projected import projection_of
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.results.result_files import make_document, with_standings
from virnuc_profiler.sweep.results.search_trials import allowance_of_search, finalists_of_search, search_goes_on
from virnuc_profiler.sweep.results.sweep_plan import Trial
from virnuc_profiler.sweep.results.sweep_record import SweepRecord
from virnuc_profiler.sweep.results.verdicts.candidates import Ranking, rank
from virnuc_profiler.sweep.results.verdicts.confirmation import Confirmation, Contenders
from virnuc_profiler.sweep.results.verdicts.measurements import counted_results
from virnuc_profiler.sweep.results.verdicts.pareto import pareto_set
from virnuc_profiler.sweep.results.verdicts.race_replay import Allowance, Replay, allowance_of, within
from virnuc_profiler.sweep.results.verdicts.recommendation import choose, conclude
from virnuc_profiler.sweep.results.verdicts.standing import Standing
from virnuc_profiler.sweep.results.verdicts.standings import StepStandings
from virnuc_profiler.targets.knobs.configuration import Configuration

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
        self._plan = self._record.plan
        self._steps = self._plan.planned_steps()

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
        if "confirmation" in self._plan.steps and not self.confirmation_document().complete:
            return False
        others = [name for name in self._plan.steps if name != "confirmation"]  # for which there may be no time
        own = [self.step(name) if self._record.has(name) else None for name in others]
        return all(document is not None and document.complete for document in own)

    def step(self, name: str) -> Document | None:
        """Return the document of a step; None if the step was never run."""
        if name == "validation" and self._is_vain():
            return self._vain_validation()
        if self._record.has(name):
            if name == "confirmation":
                return self.confirmation_document()
            return self._validation() if name == "validation" else self._measured(name)
        if name == "confirmation" and self._is_confirmation_due():
            return self.confirmation_document()
        return self._earlier.step(name) if self._earlier is not None else None

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
            required_packing=self._plan.objective.required_packing,
            pareto=tuple(one.to_json() for one in pareto_set(each.tradeoff for each in self.ranking.safe)),
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

    @cached_property
    def ranking(self) -> Ranking:
        """The configurations of all steps that can be compared."""
        steps = {name: self._comparable_trials(name) for name in RANKED_STEPS}
        found = {name: counted_results(trials) for name, trials in steps.items() if trials}
        later = [trial.result for trial in self._comparable_trials("confirmation")]
        return rank(found, self._plan.objective, later)

    def confirmation(self) -> Replay | None:
        """Return the race of what the steps have found; None if there is nothing to compare, or no time for it."""
        contenders = self._contenders
        if contenders is None:
            return None
        allowance = self._allowance(contenders)
        chosen = within(contenders, allowance)
        if chosen is None:
            return None
        return Replay(chosen, allowance, self._confirmation_trials(), self._plan.objective)

    def choice(self) -> Choice | None:
        """Return the best configuration of all steps that can be compared; None if none has succeeded."""
        return choose(self.ranking, self._plan.objective, self._conclusion(), self._standing_in_blocks)

    def confirmation_document(self) -> Document:
        """Return the document of the confirmation, also where there is nothing to compare, or no time for it."""
        record, conclusion = self._record, self._conclusion()
        contenders = None if conclusion is None else conclusion.contenders
        trials = [trial for trial in record.trials if trial.step == "confirmation"]
        entrants = () if contenders is None else contenders.all
        stood = StepStandings(trials, (), None if contenders is None else contenders.reference, self._plan.objective)
        shown = [self._shown(stood, record.trials_of("confirmation", one)) for one in entrants]
        replay = self.confirmation()
        return self._document(
            self._steps["confirmation"],
            [trial for trial in shown if trial is not None],
            self.baseline(),
            planned=len(entrants),
            complete=replay is None or not replay.missing(),
            standings=stood,
            repeats=1 if conclusion is None else max(1, conclusion.blocks),
            confirmation=conclusion,
            took_sec=_took(trials),
        )

    def _conclusion(self) -> Confirmation | None:
        """Return what the confirmation shows; None if none was planned, or it is older than the steps."""
        contenders = self._contenders
        if contenders is None or ("confirmation" not in self._plan.steps and not self._confirmation_trials()):
            return None
        allowed = [one.configuration for one in self.ranking.rivals]
        return conclude(self.confirmation(), self._allowance(contenders), self.ranking.memory_gb, allowed)

    @cached_property
    def _contenders(self) -> Contenders | None:
        """The configurations of the race: the finalists of a search, or else the best of the grids."""
        contenders = self.ranking.contenders
        if contenders is None or not self._record.has(SEARCH):
            return contenders
        finalists = finalists_of_search(self._record, [one.configuration for one in self.ranking.rivals])
        rest = [one for one in finalists if one != contenders.baseline]
        if not rest:
            return contenders
        return Contenders(rest[0], rest[1] if len(rest) > 1 else None, contenders.baseline, tuple(rest[2:]))

    def _allowance(self, contenders: Contenders) -> Allowance:
        if self._record.has(SEARCH):
            return allowance_of_search(self._record, len(contenders.all))
        grid = [trial for name in RANKED_STEPS for trial in self._comparable_trials(name)]
        return allowance_of(grid, contenders, self._record.current_conditions.settings.get("cooldown_s"))

    def _confirmation_trials(self) -> list[Trial]:
        """Return the trials of the last confirmation, with every attempt, unless a step before it has newer ones."""
        owner = self._owner("confirmation")
        owners = [found for name in RANKED_STEPS if (found := self._owner(name)) is not None]
        if owner is None or any(self._records.index(one) > self._records.index(owner) for one in owners):
            return []
        return self._comparable_trials("confirmation")

    def _comparable_trials(self, name: str) -> list[Trial]:
        """Return the trials of a step that can be compared, with every attempt."""
        owner = self._owner(name)
        if owner is None or self.differences(name):
            return []
        return [trial for trial in owner.trials if trial.step == name]

    def _standing_in_blocks(self, configuration: Configuration) -> Standing | None:
        """Return the standing of a configuration in the first step that has measured it in blocks."""
        for name in RANKED_STEPS:
            document = self.comparable(name)
            for result in () if document is None or document.repeats < 2 else document.results:
                if result.configuration == configuration and result.standing and result.standing.verdict:
                    return result.standing
        return None

    @cached_property
    def _earlier(self) -> Documents | None:
        return Documents(self._records[:-1]) if len(self._records) > 1 else None

    def _owner(self, name: str) -> SweepRecord | None:
        return next((record for record in reversed(self._records) if record.has(name)), None)

    def _baseline_differences(self, owner: SweepRecord) -> list[Difference]:
        """Return the knobs in which the baseline of an earlier sweep differs: a list changes that of its knob."""
        then, now = (record.plan.planned_steps()["baseline"].base for record in (owner, self._record))
        return [
            Difference(name, then.get(name), now.get(name))
            for name in dict.fromkeys((*then.knobs, *now.knobs))
            if then.get(name) != now.get(name)
        ]

    def _measured(self, name: str) -> Document:
        step, record = self._steps[name], self._record
        baseline_step = self._steps["baseline"].base
        own = [trial for trial in record.trials if trial.step == name]
        configurations = step.configurations() or tuple(dict.fromkeys(trial.configuration for trial in own))
        if name == SEARCH:
            step = replace(step, grid=_tried(configurations))
        stood = StepStandings(own, self._others(own), baseline_step, self._plan.objective)
        shown = [self._shown(stood, record.trials_of(name, one)) for one in configurations]
        trials = [trial for trial in shown if trial is not None]
        baseline = trials[0].result if name == "baseline" else self._baseline_beside(stood)
        return self._document(
            step,
            trials,
            baseline,
            planned=len(configurations),
            complete=all(self._is_whole(name, one) for one in configurations)
            and not (name == SEARCH and self._is_searching()),
            standings=stood,
            repeats=self._plan.repeats,
            took_sec=_took(own),
        )

    def _baseline_beside(self, stood: StepStandings) -> Result | None:
        """Return the baseline that the speedups of a step refer to, with the mean of its measurements."""
        measured, standing = stood.measured(self._steps["baseline"].base), stood.of_baseline()
        if measured is None or standing is None:
            return self.baseline()
        return replace(measured.middle.result, standing=standing, speedup=1.0)

    def _others(self, own: Sequence[Trial]) -> list[Trial]:
        """Return the trials of other steps that ended before the last one of a step, and the baseline before that."""
        trials, name = self._record.trials, own[-1].step
        before = [trial for trial in trials[: trials.index(own[-1])] if trial.step in RANKED_STEPS]
        found = [trial for trial in before if trial.step != name]
        if name != "baseline" and not self._record.has("baseline"):
            found = [*self._comparable_trials("baseline"), *found]
        return found

    def _shown(self, stood: StepStandings, trials: Sequence[Trial]) -> Trial | None:
        """Return the trial that stands for a configuration: one that failed, else that with the median cost."""
        if not trials:
            return None
        failed = [trial for trial in trials if not trial.result.succeeded]
        measured = stood.measured(trials[0].configuration)
        if failed or measured is None or not stood.in_blocks:
            return (failed or trials)[-1]
        return measured.middle

    def _is_confirmation_due(self) -> bool:
        """Return whether all is done that a planned confirmation waits for, such as the grids."""
        planned = [name for name in self._plan.steps if name in GRID_STEPS]
        found = [self.step(name) if self._record.has(name) else None for name in planned]
        due = "confirmation" in self._plan.steps and not self._is_searching()
        return due and all(each is not None and each.complete for each in found)

    def _is_searching(self) -> bool:
        """Return whether a planned search has another trial before its race."""
        return SEARCH in self._plan.steps and search_goes_on(self._record)

    def _is_whole(self, name: str, configuration: Configuration) -> bool:
        """Return whether a configuration was measured in all blocks, or failed in one."""
        trials = self._record.trials_of(name, configuration)
        return len(trials) >= self._plan.repeats or any(not trial.result.succeeded for trial in trials)

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
            projection=projection_of(trial.result, self._plan.objective),
            took_sec=_took([trial]),
        )
        packing, required = trial.result.packing_efficiency, self._plan.objective.required_packing
        return replace(document, choice=choice.after_validation(document.constraint_met, packing, required))

    def _is_vain(self) -> bool:
        """Return whether all other steps are done and none has a configuration to validate."""
        steps = self._plan.steps
        others = [self._steps[name] for name in steps if name in GRID_STEPS]
        return (
            "validation" in steps
            and not self._is_searching()
            and bool(self._record.trials)
            and all(self._record.last_trial(step.name, config) for step in others for config in step.configurations())
            and self.ranking.best is None
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
        standings: StepStandings | None = None,
        **more: Any,
    ) -> Document:
        """Return a document; the intervals of its speedups are computed once it is complete.

        Args:
            step: The step.
            trials: One trial for each configuration, in the order of the grid.
            baseline: Result that speedups refer to; None if there is none.
            standings: Standings of the configurations; None to make them from the results alone.
            **more: Further arguments of :func:`make_document`.
        """
        record = self._record
        conditions = record.current_conditions
        workload = self._plan.workload_of(step.name) if trials else self._plan.workload
        stood = {} if standings is None else standings.standings()
        document = make_document(
            step,
            replace(conditions, workload=workload.to_json()),
            [replace(self._marked(trial, conditions), standing=stood.get(trial.configuration)) for trial in trials],
            baseline,
            created=max((trial.finished for trial in trials or record.trials), default=record.started),
            objective=self._plan.objective,
            **more,
        )
        if standings is None or not document.complete or document.best is None:
            return document
        return with_standings(document, standings.compared(document.best.configuration))

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


def _tried(configurations: Sequence[Configuration]) -> Grid:
    """Return the values of each knob among configurations, as a grid names them."""
    knobs = configurations[0].knobs
    values = {name: dict.fromkeys(one[name] for one in configurations) for name in knobs}
    return {name: tuple(found) for name, found in values.items() if len(found) > 1 or not knobs[name].needs_new_model}


def _took(trials: Sequence[Trial]) -> float | None:
    """Return the seconds that trials have taken; None if a journal of an older version does not say."""
    seconds = [trial.took_sec for trial in trials]
    return None if None in seconds or not seconds else sum(each or 0.0 for each in seconds)
