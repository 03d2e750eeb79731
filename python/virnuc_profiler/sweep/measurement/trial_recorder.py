# SPDX-License-Identifier: MIT
"""Measures one configuration in a block of a step, and records it before anything else happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from virnuc_profiler.errors import EnvironmentFailure, WorkloadError
from virnuc_profiler.inference.loading.environment import require_environment
from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.sweep.measurement.listener import SweepListener, TrialRunner
from virnuc_profiler.sweep.measurement.result_writer import ResultWriter
from virnuc_profiler.sweep.measurement.validity import reasons_to_repeat
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.steps import Step
from virnuc_profiler.sweep.plan.workload import Workload
from virnuc_profiler.sweep.results.earlier_files import keep_earlier_run
from virnuc_profiler.sweep.results.journal import Journal
from virnuc_profiler.sweep.results.result import ENVIRONMENT, Result
from virnuc_profiler.sweep.results.result_files import now, relative_to
from virnuc_profiler.sweep.results.sweep_plan import MAX_ATTEMPTS, Trial
from virnuc_profiler.sweep.results.sweep_record import conditions_key
from virnuc_profiler.sweep.results.verdicts.measurements import by_configuration
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.number_text import counted

TELEMETRY_FOLDER: Final = "telemetry"

COOLING_S: Final = 10.0
"""Pause before a configuration is measured again, in which a device cools and another process may end."""


@dataclass(frozen=True, slots=True)
class TrialRecorder:
    """Measures configurations one at a time, each into the journal and the result files.

    Attributes:
        journal: Open journal in which the sweep has been begun.
        writer: Writer of the result files.
        output_dir: Folder of the results.
        workload: Workload of all steps but the validation, at its path of today.
        validation_workload: Workload of the validation, at its path of today.
        conditions: Conditions of the results.
        listener: Receives the events.
        check_workload: Raises WorkloadError if the file of sequences has changed.
        clock: Returns monotonic seconds.
        pause: Waits for a number of seconds.
    """

    journal: Journal
    writer: ResultWriter
    output_dir: Path
    workload: Workload
    validation_workload: Workload
    conditions: Conditions
    listener: SweepListener
    check_workload: Callable[[Workload], None]
    clock: Callable[[], float]
    pause: Callable[[float], None]

    def is_finished(self, step: Step, configuration: Configuration, block: int = 0) -> bool:
        """Return whether a configuration need not be measured (again) in a block of a step.

        Args:
            step: The step.
            configuration: The configuration.
            block: Number of the block.
        """
        return self.journal.current.is_finished(step.name, configuration, self.conditions.settings, block)

    def measure(self, step: Step, configuration: Configuration, run: TrialRunner, block: int = 0) -> Result:
        """Measure a configuration until a measurement stands, three times at most, and return the last result.

        A measurement that was stopped, that shared the device, or that was held down as none before it, is discarded.
        Every attempt is in the journal. The last one stands in any case, with its reasons to repeat it.

        Args:
            step: The step.
            configuration: The configuration.
            run: Measures it.
            block: Number of the block.

        Returns:
            The result as it was measured; the step's document holds its standing.

        Raises:
            WorkloadError: The file of sequences was changed meanwhile.
            OutputError: The result cannot be written.
            EnvironmentFailure: The machine lets no configuration run.
            KeyboardInterrupt: Ctrl-C; nothing of this measurement is recorded.
        """
        began = self.clock()
        for repeats_left in reversed(range(MAX_ATTEMPTS)):
            trial = self._attempt(step, configuration, run, block, began)
            with deferred_interrupts():
                self.journal.add(trial)
                self.writer.write_step(step)
            if not trial.doubts or not repeats_left:
                break
            began = self.clock()
            self.listener.trial_repeated(step.name, trial.result, trial.doubts)
            self.pause(COOLING_S)
        self.listener.trial_finished(step.name, trial.result)
        return trial.result

    def _attempt(self, step: Step, configuration: Configuration, run: TrialRunner, block: int, began: float) -> Trial:
        record = self.journal.current
        workload = self.validation_workload if step.name == "validation" else self.workload
        last = record.last_trial(step.name, configuration, block)
        place, attempt = (step.name, configuration, block), 0 if last is None else last.attempt + 1
        folder = self.output_dir / TELEMETRY_FOLDER / step.name
        folder = folder / f"block_{block + 1}" if block else folder
        folder = folder / f"attempt_{attempt + 1}" if attempt else folder
        with self._unchanged(workload):
            self.listener.trial_started(step.name, configuration, workload)
            keep_earlier_run(folder, configuration.run_id, record.started)
            try:
                result = run(workload, configuration, folder, self.listener.trial_progressed)
                _require_environment(result)
            except EnvironmentFailure as failure:
                raise EnvironmentFailure(
                    f"{failure}; the sweep ends here, and the results of "
                    f"{counted(len(record.trials), 'finished trial')} are kept: "
                    f"sweep --resume {self.output_dir} continues it"
                ) from None
        standing = [trial for each in by_configuration(record.trials).values() for trial in each]
        others = [one.result for one in standing if (one.step, one.configuration, one.block) != place]
        return Trial(
            step.name,
            configuration,
            workload.fingerprint,
            workload.num_sequences,
            conditions_key(self.conditions),
            now(),
            self._with_relative_paths(result),
            block,
            attempt,
            self.clock() - began,
            reasons_to_repeat(result, others),
        )

    @contextmanager
    def _unchanged(self, workload: Workload) -> Iterator[None]:
        """Check the file of sequences before and after a trial, since a trial on another file must not be recorded.

        Raises:
            WorkloadError: The file has changed; the message says how many trials are kept.
        """
        try:
            self.check_workload(workload)
            yield
            self.check_workload(workload)
        except WorkloadError as error:
            kept = len(self.journal.current.trials)
            raise WorkloadError(
                f"{error}; the sweep ends here, and the results of {counted(kept, 'finished trial')} are kept in "
                f"{self.output_dir}: put the file back and use sweep --resume {self.output_dir}, or start again "
                "in another folder"
            ) from None

    def _with_relative_paths(self, result: Result) -> Result:
        return replace(
            result,
            telemetry_path=relative_to(self.output_dir, result.telemetry_path),
            run_path=relative_to(self.output_dir, result.run_path),
        )


def _require_environment(result: Result) -> None:
    """Refuse a result that says that the machine lets no configuration run; another one may need fewer processes.

    Raises:
        EnvironmentFailure: The machine kept this configuration from running, and would keep any other one.
    """
    if result.reason != ENVIRONMENT:
        return
    workers = int(result.configuration.get("num_workers") or 0)
    require_environment(workers)
    if workers <= 1:
        raise EnvironmentFailure(result.message or "the machine let no worker start")
