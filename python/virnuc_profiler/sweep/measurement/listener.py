# SPDX-License-Identifier: MIT
"""What a sweep calls: the runner of its trials, and the listener to its events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.results.document import Document
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.targets.knobs.configuration import Configuration


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

    def trial_repeated(self, step: str, result: Result, reasons: Sequence[str]) -> None:
        """Called when a measurement is discarded, and its configuration is about to be measured again."""

    def trial_left_out(self) -> None:
        """Called in place of a trial of a configuration that an earlier block has shown to fail."""

    def trial_finished(self, step: str, result: Result) -> None:
        """Called when a configuration was measured, or has failed."""

    def step_finished(self, document: Document) -> None:
        """Called when a step is complete and written."""
