# SPDX-License-Identifier: MIT
"""A sweep runs the five steps one after the other and writes what each has found."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from virnuc_profiler.errors import EnvironmentFailure, OutputError, UsageError, WorkloadError, folder_problem
from virnuc_profiler.inference.loading.environment import require_environment
from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.plan.knobs import KnobValue
from virnuc_profiler.sweep.plan.steps import BEST_CONFIG_FILE, Step, in_order, plan
from virnuc_profiler.sweep.plan.workload import Workload, WorkloadGuard
from virnuc_profiler.sweep.results.document import BestConfiguration, Document
from virnuc_profiler.sweep.results.earlier_files import keep_earlier_run, keep_unless_in_journal
from virnuc_profiler.sweep.results.from_journal import NO_CHOICE, Documents
from virnuc_profiler.sweep.results.journal import Journal, read_journal
from virnuc_profiler.sweep.results.remaining import PlannedTrial, needed_steps, remaining_trials
from virnuc_profiler.sweep.results.result import ENVIRONMENT, Result
from virnuc_profiler.sweep.results.result_files import now, relative_to
from virnuc_profiler.sweep.results.sweep_record import SweepPlan, SweepRecord, Trial, conditions_key
from virnuc_profiler.telemetry.files import write_json_atomically
from virnuc_profiler.telemetry.number_text import counted

TELEMETRY_FOLDER = "telemetry"

_log = logging.getLogger(__name__)


class TrialRunner(Protocol):
    """Measures one configuration, as :meth:`LoadedModel.run_trial` does."""

    def __call__(
        self, workload: Workload, configuration: Configuration, output_dir: Path, on_progress: Callable[[int], None]
    ) -> Result:
        """Return the result of one configuration."""


class SweepListener:
    """Receives the events of a sweep; does nothing unless overridden."""

    def trial_started(self, step: str, configuration: Configuration, workload: Workload) -> None:
        """Called before a configuration is measured."""

    def trial_progressed(self, sequences: int) -> None:
        """Called with the number of sequences of the current trial that are done."""

    def trial_counted(self, tokens: int) -> None:
        """Called with the number of tokens of the current trial that are done, if the model counts them."""

    def trial_finished(self, step: str, result: Result) -> None:
        """Called when a configuration was measured, or has failed."""

    def step_finished(self, document: Document) -> None:
        """Called when a step is complete and written."""


@dataclass
class Sweep:
    """The five steps over one model, one workload and one folder.

    Every result is in the folder's journal before the next configuration begins, so an interruption loses at most the
    one in progress; the result files are made from the journal.

    Attributes:
        output_dir: Folder of the results; telemetry lies under ``telemetry/{step}/`` in it.
        run_trial: Measures one configuration.
        workload: Workload of the first four steps.
        validation_workload: Workload of the validation.
        conditions: Conditions of the results, as every result file names them.
        grid: Lists of values that replace the default ones, by the name of the knob.
        listener: Receives the events of the sweep.
        journal: Open journal of the folder, in which the sweep has been begun; None to open it and begin one for
            each run.
        check_workload: Raises WorkloadError if the file of sequences has changed.
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

    def __post_init__(self) -> None:
        self.steps = plan(self.grid)
        self.conditions = replace(self.conditions, workload=self.workload.to_json())
        (self._baseline,) = self.steps["baseline"].configurations()
        self._baseline_measured = False
        self._written: set[str] = set()

    def run(self, names: Sequence[str]) -> list[Document]:
        """Run the chosen steps in their order, and the baseline first if it is needed.

        Args:
            names: Names of the chosen steps.

        Returns:
            The documents of the chosen steps.

        Raises:
            UsageError: A step does not exist, or the longest sequence does not fit a token budget.
            WorkloadError: The file of sequences was changed meanwhile.
            OutputError: A result cannot be written, or another sweep uses the folder.
            EnvironmentFailure: The machine lets no configuration run, for lack of processes or shared memory.
            KeyboardInterrupt: Ctrl-C; what was measured until then is written.
        """
        chosen = in_order(names)
        check_budgets(self.steps, chosen, self.workload, self.validation_workload)
        with self._recording(chosen) as recording:
            return [self._run_step(recording, name) for name in chosen]

    def run_step(self, name: str) -> Document:
        """Run one step, after the baseline if there is none to compare with, and return its document."""
        with self._recording((name,)) as recording:
            return self._run_step(recording, name)

    def planned(self, names: Sequence[str]) -> list[Workload]:
        """Return the workload of each configuration that will be measured, in order."""
        return [
            self.validation_workload if name == "validation" else self.workload
            for name, configuration in self.to_run(names)
        ]

    def to_run(self, names: Sequence[str]) -> list[PlannedTrial]:
        """Return step and configuration of each trial to come, in order; None for a best that is not known yet."""
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
        for name, document in Documents(self.journal.records).files().items():
            self._write(self.journal, name, document)

    @contextmanager
    def _recording(self, steps: Sequence[str]) -> Iterator[Journal]:
        if self.journal is not None:
            self._begin(self.journal)
            yield self.journal
            return
        _make(self.output_dir)
        with Journal(self.output_dir) as journal:
            journal.begin(self._plan(steps))
            self._begin(journal)
            yield journal

    def _begin(self, journal: Journal) -> None:
        """Record the conditions, and remove the files of steps that were measured under other conditions."""
        journal.note(self.conditions)
        for name, document in Documents(journal.records).files().items():
            if document is None and keep_unless_in_journal(self.output_dir / name, journal.records):
                self._write(journal, name, None)
                _log.warning("%s was of an earlier sweep under other conditions; the journal keeps its results", name)

    def _plan(self, steps: Sequence[str]) -> SweepPlan:
        grid = {name: tuple(values) for name, values in self.grid.items()}
        return SweepPlan(tuple(steps), grid, self.workload, self.validation_workload)

    def _run_step(self, journal: Journal, name: str) -> Document:
        step = self.steps[name]
        if name == "baseline":
            self._baseline_measured = True
        elif not self._has_usable_baseline(journal):
            self._run_step(journal, "baseline")
        if name != "validation":
            return self._measure(journal, step, step.configurations())
        return self._validate(journal, step)

    def _validate(self, journal: Journal, step: Step) -> Document:
        documents = Documents(journal.records)
        for name in self.steps:
            if differences := documents.differences(name):
                _log.warning("an earlier result of %s is not used: %s", name, "; ".join(map(str, differences)))
        choice = documents.choice()
        if choice is not None and choice.configuration is not None:
            return self._measure(journal, step, [choice.configuration])
        document = self._write_step(journal, step)
        self.listener.step_finished(document)
        _log.warning("nothing can be validated: %s", NO_CHOICE)
        return document

    def _measure(self, journal: Journal, step: Step, configurations: Sequence[Configuration]) -> Document:
        for configuration in configurations:
            if not self._is_finished(journal.current, step.name, configuration):
                self._run_one(journal, step, configuration)
        document = self._write_step(journal, step)
        self.listener.step_finished(document)
        return document

    def _run_one(self, journal: Journal, step: Step, configuration: Configuration) -> None:
        workload = self.validation_workload if step.name == "validation" else self.workload
        with self._unchanged(journal, workload):
            self.listener.trial_started(step.name, configuration, workload)
            folder = self.output_dir / TELEMETRY_FOLDER / step.name
            keep_earlier_run(folder, configuration.run_id, journal.current.started)
            try:
                result = self.run_trial(workload, configuration, folder, self.listener.trial_progressed)
                _require_environment(result)
            except EnvironmentFailure as failure:
                raise EnvironmentFailure(
                    f"{failure}; the sweep ends here, and the results of "
                    f"{counted(len(journal.current.trials), 'finished trial')} are kept: "
                    f"sweep --resume {self.output_dir} continues it"
                ) from None
        trial = Trial(
            step.name,
            configuration,
            workload.fingerprint,
            workload.num_sequences,
            conditions_key(self.conditions),
            now(),
            self._with_relative_paths(result),
        )
        with deferred_interrupts():
            journal.add(trial)
            document = self._write_step(journal, step)
        self.listener.trial_finished(step.name, next(r for r in document.results if r.configuration == configuration))

    @contextmanager
    def _unchanged(self, journal: Journal, workload: Workload) -> Iterator[None]:
        """Check the file of sequences before and after a trial, since a trial on another file must not be recorded.

        Raises:
            WorkloadError: The file has changed; the message says how many trials are kept.
        """
        try:
            self.check_workload(workload)
            yield
            self.check_workload(workload)
        except WorkloadError as error:
            kept = len(journal.current.trials)
            raise WorkloadError(
                f"{error}; the sweep ends here, and the results of {counted(kept, 'finished trial')} are kept in "
                f"{self.output_dir}: put the file back and use sweep --resume {self.output_dir}, or start again "
                "in another folder"
            ) from None

    def _write_step(self, journal: Journal, step: Step) -> Document:
        documents = Documents(journal.records)
        document = documents.step(step.name)
        assert document is not None  # something was recorded just before
        self._write(journal, step.file_name, document)
        if step.name == "validation":
            self._write(journal, BEST_CONFIG_FILE, documents.best(document))
        elif documents.is_overtaken():
            self._write(journal, BEST_CONFIG_FILE, None)
        return document

    def _write(self, journal: Journal, name: str, document: Document | BestConfiguration | None) -> None:
        """Write a result file; None removes it, because it is out of date. Nothing is lost that no journal holds."""
        path = self.output_dir / name
        if name not in self._written:
            keep_unless_in_journal(path, journal.records)
            self._written.add(name)
        if document is not None:
            write_json_atomically(path, document.to_json())
        else:
            path.unlink(missing_ok=True)

    def _with_relative_paths(self, result: Result) -> Result:
        return replace(
            result,
            telemetry_path=relative_to(self.output_dir, result.telemetry_path),
            run_path=relative_to(self.output_dir, result.run_path),
        )

    def _has_usable_baseline(self, journal: Journal) -> bool:
        """Return whether speedups have a baseline: a comparable success, or the one that this sweep has measured."""
        if self._baseline_measured or self._is_finished(journal.current, "baseline", self._baseline):
            return True
        documents = Documents(journal.records)
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

    def _is_finished(self, record: SweepRecord, name: str, configuration: Configuration) -> bool:
        return record.is_finished(name, configuration, self.conditions.settings)


def _require_environment(result: Result) -> None:
    """Refuse a result that says that the machine lets no configuration run; another one may need fewer processes.

    Raises:
        EnvironmentFailure: The machine kept this configuration from running, and would keep any other one.
    """
    if result.reason != ENVIRONMENT:
        return
    require_environment(result.configuration.num_workers)
    if result.configuration.num_workers <= 1:
        raise EnvironmentFailure(result.message or "the machine let no worker start")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {folder_problem(error)}") from error


def check_budgets(steps: Mapping[str, Step], names: Sequence[str], workload: Workload, validation: Workload) -> None:
    """Refuse token budgets that the longest sequence does not fit, before anything is run.

    Any configuration may win, so it must also fit the workload of the validation if that is among the steps.

    Args:
        steps: The planned steps by name.
        names: Names of the steps that will run.
        workload: Workload of the first four steps.
        validation: Workload of the validation.

    Raises:
        UsageError: The longest sequence does not fit a token budget.
    """
    longest, whose = workload.longest_tokens, ""
    if "validation" in names and validation.longest_tokens > longest:
        longest, whose = validation.longest_tokens, " of the validation"
    for name in names:
        for configuration in steps[name].configurations():
            require_budget(configuration.token_budget, longest, whose)


def require_budget(token_budget: int, longest_tokens: int, whose: str = "") -> None:
    """Refuse a token budget that the longest sequence does not fit.

    Args:
        token_budget: The budget.
        longest_tokens: Tokens of the longest sequence, BOS and EOS included.
        whose: Which workload has that sequence, for the message.

    Raises:
        UsageError: The sequence does not fit.
    """
    if token_budget < longest_tokens:
        raise UsageError(
            f"token_budget is {token_budget:,}, but the longest sequence{whose} has {longest_tokens:,} tokens "
            f"(BOS and EOS included): use at least {longest_tokens:,}"
        )
