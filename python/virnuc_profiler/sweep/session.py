# SPDX-License-Identifier: MIT
"""A sweep runs its steps one after the other and writes what each has found."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from virnuc_profiler.errors import OutputError, UsageError, folder_problem
from virnuc_profiler.sweep.measurement.blocks import measure_blocks
from virnuc_profiler.sweep.measurement.confirm import confirm
from virnuc_profiler.sweep.measurement.explore import explore
from virnuc_profiler.sweep.measurement.listener import SweepListener, TrialRunner
from virnuc_profiler.sweep.measurement.result_writer import ResultWriter
from virnuc_profiler.sweep.measurement.trial_recorder import TrialRecorder
from virnuc_profiler.sweep.plan.budgets import check_budgets
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.objective import ENERGY, Objective
from virnuc_profiler.sweep.plan.steps import SEARCH, Step, in_order, plan
from virnuc_profiler.sweep.plan.workload import Workload, WorkloadGuard
from virnuc_profiler.sweep.results.document import Document
from virnuc_profiler.sweep.results.earlier_files import keep_unless_in_journal
from virnuc_profiler.sweep.results.from_journal import NO_CHOICE, Documents
from virnuc_profiler.sweep.results.journal import Journal, read_journal
from virnuc_profiler.sweep.results.remaining import PlannedTrial, needed_steps, remaining_trials
from virnuc_profiler.sweep.results.sweep_record import SweepPlan, SweepRecord, conditions_key
from virnuc_profiler.sweep.search.search_space import SearchSpace
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, KnobSet
from virnuc_profiler.targets.knobs.knob import KnobValue

_log = logging.getLogger(__name__)

__all__ = ["Sweep", "SweepListener", "TrialRunner"]


@dataclass
class Sweep:
    """The steps over one model, one workload and one folder.

    Every result is in the folder's journal before the next configuration begins, so an interruption loses at most the
    one in progress; the result files are made from the journal.

    Attributes:
        output_dir: Folder of the results; telemetry lies under ``telemetry/{step}/`` in it.
        run_trial: Measures one configuration.
        workload: Workload of all steps but the validation.
        validation_workload: Workload of the validation.
        conditions: Conditions of the results, as every result file names them.
        grid: Lists of values that replace the default ones, by the name of the knob.
        listener: Receives the events of the sweep.
        journal: Open journal of the folder, in which the sweep has been begun; None to open it and begin one for
            each run.
        check_workload: Raises WorkloadError if the file of sequences has changed.
        repeats: Number of blocks in which each step measures its configurations.
        seed: Seed of the order within blocks.
        objective: What is minimized, and what the best configuration must keep.
        run_brief_trial: Measures one configuration for the confirmation, with a short run and a short pause; None for
            `run_trial`.
        search_space: Space of a search that has not begun yet; None if no step searches.
        budget_sec: Seconds that a search may take with all that follows; None for no limit.
        clock: Returns monotonic seconds, of which the confirmation may take a share.
        pause: Waits for a number of seconds before a configuration is measured again.
        knobs: Knobs of the target that is measured.
    """

    output_dir: Path
    run_trial: TrialRunner
    workload: Workload
    validation_workload: Workload
    conditions: Conditions
    grid: Mapping[str, Sequence[KnobValue]] = field(default_factory=dict)
    listener: SweepListener = field(default_factory=SweepListener)
    journal: Journal | None = None
    check_workload: Callable[[Workload], None] = field(default_factory=WorkloadGuard)
    repeats: int = 1
    seed: int = 0
    objective: Objective = field(default_factory=Objective)
    run_brief_trial: TrialRunner | None = None
    search_space: SearchSpace | None = None
    budget_sec: float | None = None
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    knobs: KnobSet = BUILTIN_KNOBS

    def __post_init__(self) -> None:
        self.steps = plan(self.grid, self.objective.min_packing, self.knobs, self.objective.usual_packing)
        self.conditions = replace(self.conditions, workload=self.workload.to_json(), knobs=self.knobs)
        (self._baseline,) = self.steps["baseline"].configurations()
        self._baseline_measured = False

    def run(self, names: Sequence[str]) -> list[Document]:
        """Run the chosen steps in their order, and the baseline first if it is needed.

        Args:
            names: Names of the chosen steps.

        Returns:
            The documents of the chosen steps.

        Raises:
            UsageError: A step does not exist, the longest sequence does not fit a token budget, or the objective is an
                energy that cannot be measured.
            WorkloadError: The file of sequences was changed meanwhile.
            OutputError: A result cannot be written, or another sweep uses the folder.
            EnvironmentFailure: The machine lets no configuration run, for lack of processes or shared memory.
            KeyboardInterrupt: Ctrl-C; what was measured until then is written.
        """
        chosen = in_order(names)
        check_budgets(self.steps, chosen, self.workload, self.validation_workload)
        with self._recording(chosen) as recorder:
            return [self._run_step(recorder, name) for name in chosen]

    def run_step(self, name: str) -> Document:
        """Run one step, after the baseline if there is none to compare with, and return its document."""
        with self._recording((name,)) as recorder:
            return self._run_step(recorder, name)

    def planned(self, names: Sequence[str]) -> list[Workload]:
        """Return the workload of each configuration that will be measured, in order, without the confirmation."""
        return [
            self.validation_workload if name == "validation" else self.workload
            for name, configuration in self.to_run(names)
        ]

    def to_run(self, names: Sequence[str]) -> list[PlannedTrial]:
        """Return step and configuration of each trial to come, in order; None for a best that is not known yet.

        The trials of the confirmation are not among them, because their number depends on what they show.
        """
        return remaining_trials(self._as_begun(), names, self.conditions.settings)

    def needed(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the chosen steps in their order, after the baseline if there is none to compare with."""
        return needed_steps(self._as_begun(), names, self.conditions.settings)

    def write_files(self) -> None:
        """Write all result files of the folder again, from the journal that was given.

        Raises:
            OutputError: A file cannot be written.
        """
        assert self.journal is not None
        ResultWriter(self.output_dir, self.journal).write_all()

    @contextmanager
    def _recording(self, steps: Sequence[str]) -> Iterator[TrialRecorder]:
        if self.journal is not None:
            yield self._begun(self.journal)
            return
        _make(self.output_dir)
        with Journal(self.output_dir) as journal:
            journal.begin(self._plan(steps))
            yield self._begun(journal)

    def _begun(self, journal: Journal) -> TrialRecorder:
        """Record the conditions, and remove the files of steps that were measured under other conditions."""
        journal.note(self.conditions)
        writer = ResultWriter(self.output_dir, journal)
        for name, document in Documents(journal.records).files().items():
            if document is None and keep_unless_in_journal(self.output_dir / name, journal.records):
                writer.write(name, None)
                _log.warning("%s was of an earlier sweep under other conditions; the journal keeps its results", name)
        return TrialRecorder(
            journal=journal,
            writer=writer,
            output_dir=self.output_dir,
            workload=self.workload,
            validation_workload=self.validation_workload,
            conditions=self.conditions,
            listener=self.listener,
            check_workload=self.check_workload,
            clock=self.clock,
            pause=self.pause,
        )

    def _plan(self, steps: Sequence[str]) -> SweepPlan:
        grid = {name: tuple(values) for name, values in self.grid.items()}
        return SweepPlan(
            tuple(steps),
            grid,
            self.workload,
            self.validation_workload,
            repeats=self.repeats,
            seed=self.seed,
            objective=self.objective,
            budget_sec=self.budget_sec,
            knobs=self.knobs,
        )

    def _run_step(self, recorder: TrialRecorder, name: str) -> Document:
        step = self.steps[name]
        if name == "baseline":
            self._baseline_measured = True
        elif not self._has_usable_baseline(recorder):
            self._run_step(recorder, "baseline")
        if name == "validation":
            document = self._validate(recorder, step)
        elif name == "confirmation":
            document = confirm(recorder, step, self.run_brief_trial or self.run_trial, seed=self.seed)
        elif name == SEARCH:
            assert self.search_space is not None
            run = self.run_brief_trial or self.run_trial
            explore(recorder, step, run, space=self.search_space, seed=self.seed, baseline=self._baseline)
            document = recorder.writer.write_step(step)
        else:
            measure_blocks(recorder, step, self._baseline, self.run_trial, repeats=self.repeats, seed=self.seed)
            document = recorder.writer.write_step(step)
        self.listener.step_finished(document)
        self._require_costs(document)
        if name == "validation" and not document.results:
            _log.warning("nothing can be validated: %s", NO_CHOICE)
        return document

    def _require_costs(self, document: Document) -> None:
        """Refuse to go on if the objective is an energy that no result of a step has.

        Raises:
            UsageError: Something succeeded, but its energy was not measured.
        """
        succeeded = [result for result in document.results if result.succeeded]
        if self.objective.kind == ENERGY and succeeded and all(one.joules_per_sequence is None for one in succeeded):
            raise UsageError(
                f"--objective energy: no result of {document.step} has an energy, because this device has no energy "
                "counter, or because it was read for less than half of the runs: use --objective time, or longer runs "
                "with --trial-seconds"
            )

    def _validate(self, recorder: TrialRecorder, step: Step) -> Document:
        documents = Documents(recorder.journal.records)
        for name in self.steps:
            if differences := documents.differences(name):
                _log.warning("an earlier result of %s is not used: %s", name, "; ".join(map(str, differences)))
        choice = documents.choice()
        best = None if choice is None else choice.configuration
        if best is not None and not recorder.is_finished(step, best):
            recorder.measure(step, best, self.run_trial)
        return recorder.writer.write_step(step)

    def _has_usable_baseline(self, recorder: TrialRecorder) -> bool:
        """Return whether speedups have a baseline: a comparable success, or the one that this sweep has measured."""
        if self._baseline_measured or recorder.is_finished(self.steps["baseline"], self._baseline):
            return True
        documents = Documents(recorder.journal.records)
        differences = documents.differences("baseline")
        baseline = documents.baseline()
        if differences:
            _log.warning("an earlier baseline is not used: %s", "; ".join(map(str, differences)))
        elif baseline is not None and not baseline.succeeded:
            _log.warning("an earlier baseline is measured again: it failed with %s", baseline.reason)
        return baseline is not None and baseline.succeeded and not baseline.interrupted

    def _as_begun(self) -> list[SweepRecord]:
        """Return the folder's sweeps as they will be once this one has begun or continues."""
        if self.journal is not None:
            *earlier, last = self.journal.records
        else:
            earlier, last = read_journal(self.output_dir), SweepRecord("", self._plan(()), "")
        key = conditions_key(self.conditions)
        others = {name: conditions for name, conditions in last.conditions.items() if name != key}
        return [*earlier, replace(last, conditions={**others, key: self.conditions})]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {folder_problem(error)}") from error
