# SPDX-License-Identifier: MIT
"""A sweep: runs the five steps one after the other and writes what each found."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from virnuc_profiler.errors import TelemetryFormatError, UsageError
from virnuc_profiler.sweep.choice import choose_overall
from virnuc_profiler.sweep.configuration import Configuration
from virnuc_profiler.sweep.results import (
    BEST_KIND,
    SCHEMA_VERSION,
    Conditions,
    Document,
    Result,
    now,
    read_step,
    relative_to,
    step_document,
)
from virnuc_profiler.sweep.steps import BEST_CONFIG_FILE, MIN_PACKING, Step, in_order, plan
from virnuc_profiler.sweep.workload import Workload
from virnuc_profiler.telemetry.files import write_json_atomically
from virnuc_profiler.telemetry.rates import PROJECTED_SEQUENCES, projected_hours

TELEMETRY_FOLDER = "telemetry"

_log = logging.getLogger(__name__)


class RunTrial(Protocol):
    """Measures one configuration, as :func:`run_single_gpu_benchmark` does."""

    def __call__(
        self, workload: Workload, configuration: Configuration, output_dir: Path, on_progress: Callable[[int], None]
    ) -> Mapping[str, Any]:
        """Returns its result."""


class SweepListener:
    """Is told how a sweep goes; does nothing unless overridden."""

    def trial_started(self, step: str, configuration: Configuration, workload: Workload) -> None:
        """A configuration is about to be measured."""

    def trial_progressed(self, sequences: int) -> None:
        """So many of its sequences are done."""

    def trial_finished(self, step: str, result: Result) -> None:
        """A configuration was measured, or has failed."""

    def step_finished(self, document: Document) -> None:
        """A step is complete and written."""


@dataclass
class Sweep:
    """The five steps over one model, one workload and one folder.

    Every configuration is written as soon as it is measured, so an interruption loses at most the one in progress.

    Attributes:
        output_dir: folder of the results; telemetry lies under ``telemetry/{step}/`` in it.
        run_trial: measures one configuration.
        workload: of the first four steps.
        validation_workload: of the last.
        conditions: what every result file says of the circumstances.
        grid: lists of values that replace the default ones.
        listener: is told how it goes.
    """

    output_dir: Path
    run_trial: RunTrial
    workload: Workload
    validation_workload: Workload
    conditions: Conditions
    grid: Mapping[str, Sequence[int]] = field(default_factory=dict)
    listener: SweepListener = field(default_factory=SweepListener)

    def __post_init__(self) -> None:
        self.steps = plan(self.grid)
        self.conditions = replace(self.conditions, workload=self.workload.as_dict())
        self._reference: Result | None = None

    def run(self, names: Sequence[str]) -> list[Document]:
        """Runs the chosen steps in their order, and the baseline first if it is needed.

        Raises:
            UsageError: a step that does not exist, or a token budget that the longest sequence does not fit.
            OutputError: a result cannot be written.
            KeyboardInterrupt: what was measured until then is written.
        """
        chosen = in_order(names)
        check_budgets(self.steps, chosen, self.workload, self.validation_workload)
        return [self.run_step(name) for name in chosen]

    def run_step(self, name: str) -> Document:
        """Runs one step, after the baseline if there is none to compare with, and returns its document."""
        step = self.steps[name]
        if name == "baseline":
            document = self._measure(step, step.configurations(), self.workload, baseline=None)
            self._reference = document["results"][0]
            return document
        baseline = self.baseline()
        if name != "validation":
            return self._measure(step, step.configurations(), self.workload, baseline)
        return self._validate(step, baseline)

    def baseline(self) -> Result:
        """The result of the baseline: the one in the folder if it is a comparable success, else measured now, once."""
        if self._reference is None:
            document = self._earlier_baseline() or self.run_step("baseline")
            self._reference = document["results"][0]
        return self._reference

    def planned(self, names: Sequence[str]) -> list[Workload]:
        """The workload of each configuration that will be measured, in order."""
        return [workload for name in self.needed(names) for workload in self._workloads(name)]

    def needed(self, names: Sequence[str]) -> tuple[str, ...]:
        """The chosen steps in their order, after the baseline if there is none to compare with."""
        chosen = in_order(names)
        return chosen if "baseline" in chosen or self._earlier_baseline() else ("baseline", *chosen)

    def _workloads(self, name: str) -> list[Workload]:
        if name == "validation":
            return [self.validation_workload]
        return [self.workload] * len(self.steps[name].configurations())

    def _validate(self, step: Step, baseline: Result) -> Document:
        choice = choose_overall(self._comparable_documents(), MIN_PACKING)
        if choice is None:
            reason = "no configuration has succeeded"
            document = self._write(step, [], baseline, planned=1, selection={"reason": reason}, projection=None)
            (self.output_dir / BEST_CONFIG_FILE).unlink(missing_ok=True)  # an earlier winner is none any more
            self.listener.step_finished(document)
            _log.warning("nothing can be validated: %s", reason)
            return document
        return self._measure(
            step,
            [choice.candidate.configuration],
            self.validation_workload,
            baseline=None,  # it was measured on another workload
            selection=choice.as_dict(),
            projection=None,
        )

    def _measure(
        self,
        step: Step,
        configurations: Sequence[Configuration],
        workload: Workload,
        baseline: Result | None,
        **more: Any,
    ) -> Document:
        results: list[Result] = []
        folder = self.output_dir / TELEMETRY_FOLDER / step.name
        document: Document = {}
        for configuration in configurations:
            self.listener.trial_started(step.name, configuration, workload)
            measured = self.run_trial(workload, configuration, folder, self.listener.trial_progressed)
            results.append(self._with_relative_paths(measured))
            if "projection" in more:
                more["projection"] = _projection(measured, workload)
            reference = results[0] if step.name == "baseline" else baseline
            document = self._write(step, results, reference, planned=len(configurations), workload=workload, **more)
            if "projection" in more:
                self._write_best(document)
            self.listener.trial_finished(step.name, document["results"][-1])
        self.listener.step_finished(document)
        return document

    def _write(
        self,
        step: Step,
        results: Sequence[Result],
        baseline: Result | None,
        *,
        planned: int,
        workload: Workload | None = None,
        **more: Any,
    ) -> Document:
        conditions = replace(self.conditions, workload=(workload or self.workload).as_dict())
        document = step_document(step, conditions, results, baseline, planned=planned, **more)
        write_json_atomically(self.output_dir / step.file_name, document)
        return document

    def _write_best(self, validation: Document) -> None:
        best = {
            "kind": BEST_KIND,
            "schema_version": SCHEMA_VERSION,
            "created": now(),
            **validation["selection"],
            "validation": validation["results"][0],
            "projection": validation["projection"],
            **{section: validation[section] for section in ("machine", "versions", "model", "settings")},
            "workload": self.workload.as_dict(),
            "validation_workload": validation["workload"],
        }
        write_json_atomically(self.output_dir / BEST_CONFIG_FILE, best)

    def _with_relative_paths(self, result: Result) -> Result:
        paths = {key: relative_to(self.output_dir, result.get(key)) for key in ("telemetry_path", "run_path")}
        return {**result, **{key: path for key, path in paths.items() if path is not None}}

    def _comparable_documents(self) -> list[Document]:
        steps = [step for step in self.steps.values() if step.name != "validation"]
        return [document for step in steps if (document := self._usable(step)) is not None]

    def _earlier_baseline(self) -> Document | None:
        """The baseline's document in the folder, if speedups can refer to it."""
        document = self._usable(self.steps["baseline"])
        if document is None or document["results"][0]["status"] == "success":
            return document
        _log.warning("an earlier baseline is measured anew: it failed with %s", document["results"][0].get("reason"))
        return None

    def _usable(self, step: Step) -> Document | None:
        """The step's document in the folder, if there is one of these conditions that holds results."""
        path = self.output_dir / step.file_name
        if not path.exists():
            return None
        try:
            document = read_step(path)
        except TelemetryFormatError as error:
            reason = str(error)
        else:
            differences = self.conditions.differences(document)
            if not differences and document["results"]:
                return document
            reason = f"{path} differs in {', '.join(differences)}" if differences else f"{path} holds no results"
        _log.warning("an earlier result is not used: %s", reason)
        return None


def check_budgets(steps: Mapping[str, Step], names: Sequence[str], workload: Workload, validation: Workload) -> None:
    """Refuses token budgets that the longest sequence does not fit, before anything is run.

    Whatever is measured may win, and so must fit the workload of the validation too if that is among the steps.

    Raises:
        UsageError: there is one.
    """
    longest_tokens = workload.longest_tokens
    if "validation" in names:
        longest_tokens = max(longest_tokens, validation.longest_tokens)
    for name in names:
        for configuration in steps[name].configurations():
            require_budget(configuration.token_budget, longest_tokens)


def require_budget(token_budget: int, longest_tokens: int) -> None:
    """Refuses a budget that the longest sequence does not fit.

    Raises:
        UsageError: it does not.
    """
    if token_budget < longest_tokens:
        raise UsageError(
            f"token_budget is {token_budget:,}, but the longest sequence has {longest_tokens:,} tokens "
            f"(BOS and EOS included): use at least {longest_tokens:,}"
        )


def _projection(result: Mapping[str, Any], workload: Workload) -> dict[str, Any] | None:
    if result["status"] != "success":
        return None
    hours = projected_hours(PROJECTED_SEQUENCES, workload.num_sequences, result["elapsed_sec"])
    return {"sequences": PROJECTED_SEQUENCES, "hours": hours}
