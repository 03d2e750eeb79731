# SPDX-License-Identifier: MIT
"""One measured run of any source of batches, from its start to the proof that it is gone."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import torch

from virnuc_profiler.analysis.host.interruptions import interruption_sentence
from virnuc_profiler.analysis.model_cost import ModelShape
from virnuc_profiler.analysis.summary.rough_rate import rate_after_first_batch
from virnuc_profiler.capture.profiler import BatchProfiler
from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.inference.loading.owner_tag import owner_tag, tag_segments
from virnuc_profiler.sweep.machine.device_memory import DeviceMemory
from virnuc_profiler.sweep.machine.oom_kills import oom_kills, oom_kills_since
from virnuc_profiler.sweep.machine.process_resources import ProcessResources, snapshot_resources
from virnuc_profiler.sweep.machine.shared_memory import free_bytes
from virnuc_profiler.sweep.plan.workload_part import suffix_of_part
from virnuc_profiler.sweep.results.result import SUCCESS, Result
from virnuc_profiler.sweep.trial.cleanup import (
    COOLDOWN_S,
    CleanupReport,
    Cooldown,
    child_processes,
    cleanup_between_runs,
    close_quietly,
)
from virnuc_profiler.sweep.trial.contamination import pending_leaks, record_leaks
from virnuc_profiler.sweep.trial.failure import SHARED, Failure, describe_failure, release_traceback
from virnuc_profiler.sweep.trial.outcome import failed_result, successful_outcome, without_contamination
from virnuc_profiler.sweep.trial.provenance import machine_description
from virnuc_profiler.sweep.trial.run_files import record_run, run_path
from virnuc_profiler.targets.batch_source import BatchSource
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.logger import TelemetryLogger
from virnuc_profiler.telemetry.number_text import counted
from virnuc_profiler.telemetry.run_result import RunResult

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrialSubject:
    """What a trial measures, as its files name it.

    Attributes:
        owner: Model or target, which outlives the run: device memory is comparable only while it is the same.
        device: Device that it is on.
        configuration: Value of each knob.
        workload: Description of the sequences of one pass, with ``num_sequences``.
        description: What identifies the program, as metadata of the run.
        versions: Versions of the software, by name.
        shape: Shape of the model, from which its FLOPs follow; None if that is unknown.
    """

    owner: object
    device: torch.device
    configuration: Configuration
    workload: Mapping[str, Any]
    description: Mapping[str, Any]
    versions: Mapping[str, str | None]
    shape: ModelShape | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrialOptions:
    """How a trial is run.

    Attributes:
        cooldown_s: Pause of the clean-up in seconds, or ``"auto"``.
        timeout_s: Time limit of the run in seconds; None for none.
        on_progress: Called with the number of sequences that are done in all passes, after each batch.
        on_tokens: Called with the number of their tokens, after each batch.
        metadata: Further metadata for the telemetry file.
        failure_log_level: Level at which a failure or an interruption is logged.
        capture_range: Whether to mark the measured run for nsys or ncu.
        warmed_up: Whether the program was warmed up before; None if nothing is known of it.
        remembers_leaks: Whether what the run leaves behind spoils the runs after it.
    """

    cooldown_s: Cooldown = COOLDOWN_S
    timeout_s: float | None = None
    on_progress: Callable[[int], None] | None = None
    on_tokens: Callable[[int], None] | None = None
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    failure_log_level: int = logging.WARNING
    capture_range: bool = False
    warmed_up: bool | None = None
    remembers_leaks: bool = True


def run_trial(
    source: BatchSource,
    subject: TrialSubject,
    output_dir: str | os.PathLike[str],
    options: TrialOptions,
    resources_before: ProcessResources | None = None,
) -> Result:
    """Run a source to its end, and clean up whatever happens.

    Args:
        source: Source of the batches, not opened yet. It is closed here.
        subject: What the source runs, as files name it.
        output_dir: Folder of the telemetry file and the run.
        options: How the trial is run.
        resources_before: Resources that the process held before; None to look now.

    Raises:
        OutputError: The results cannot be written.
        KeyboardInterrupt: Ctrl-C; it is passed on once what was measured is written.
    """
    trial = _TrialRun(source, subject, options, resources_before)
    logger = TelemetryLogger(output_dir, trial.run_id)  # fails here if the folder cannot be written
    report: CleanupReport | None = None
    telemetry_path = None
    try:
        trial.measure()
        with deferred_interrupts():
            run = trial.finished_run()
            if run is not None:
                telemetry_path = record_run(logger, run, subject.shape)
    finally:
        with deferred_interrupts():
            report = trial.clean_up()
    if trial.interrupt is not None:
        raise trial.interrupt
    if options.remembers_leaks:
        record_leaks(trial.run_id, report, subject.owner)
    return dataclasses.replace(
        without_contamination(trial.result(logger), trial.contamination),
        warmed_up=options.warmed_up,
        telemetry_path=None if telemetry_path is None else str(telemetry_path),
        run_path=None if telemetry_path is None else str(run_path(telemetry_path)),
        cleanup=report.as_dict(),
    )


class _TrialRun:
    """One run, and what was known of the process before it."""

    def __init__(
        self, source: BatchSource, subject: TrialSubject, options: TrialOptions, before: ProcessResources | None
    ) -> None:
        self._source = source
        self._subject = subject
        self._options = options
        self.run_id = subject.configuration.run_id + suffix_of_part(subject.workload)
        self.failure: Failure | None = None
        self.interrupt: BaseException | None = None
        self._expected: int = subject.workload["num_sequences"]
        self._done = self._tokens_done = 0
        self._run: RunResult | None = None
        self._counts: dict[str, int | None] = {}
        self._peak_gb: float | None = None
        tag_segments(owner_tag())
        self._resources_before = snapshot_resources() if before is None else before
        source.open()
        self._memory = DeviceMemory(subject.device)
        self.contamination = pending_leaks(subject.owner, self._memory)
        self._processes_before = child_processes()
        self._oom_kills_before = oom_kills()
        self._memory_before = self._memory.allocated_bytes()
        self._memory.reset_peak()

    def measure(self) -> None:
        """Run all sequences; an error becomes :attr:`failure`, and Ctrl-C becomes :attr:`interrupt`."""
        profiler: BatchProfiler | None = None
        try:
            profiler = self._started_profiler()
            self._run_batches(profiler)
        except Exception as error:
            self.failure = self._described(error, profiler)
            _log.debug("%s failed", self._subject.configuration, exc_info=error)
            release_traceback(error)
        except BaseException as error:
            self.interrupt = type(error)(*error.args)
            release_traceback(error)
        with deferred_interrupts():
            self._run = None if profiler is None else profiler.stop()
            self._peak_gb = self._memory.peak_gb()
        self._counts = dict(self._source.counts())
        if self.failure is None and self.interrupt is None:
            self.failure = self._miscount()
        self._log_outcome()

    def finished_run(self) -> RunResult | None:
        """Return the run with what is needed to compare it with others; None if the device failed before it began."""
        if self._run is None:
            return None
        status = "success" if self.failure is None else "failed"
        description = {
            "status": status if self.interrupt is None else "interrupted",
            "failure": None if self.failure is None else dataclasses.asdict(self.failure),
            "config": self._subject.configuration.to_json(),
            "passes": (self._run.total_sequences or 0) // self._expected,
            **self._subject.description,
            **self._source.findings(),
            "workload": {**self._subject.workload, **self._counts},
            "peak_memory_gb": self._peak_gb,
            "hardware": machine_description(),
            "versions": dict(self._subject.versions),
        }
        return dataclasses.replace(self._run, metadata={**description, **self._options.metadata})

    def clean_up(self) -> CleanupReport:
        """Close the source, and look for what it has left; without the pause after Ctrl-C."""
        workers = self._source.worker_pids()
        close_quietly(self._source)
        return cleanup_between_runs(
            device=self._subject.device,
            cooldown_s=self._options.cooldown_s if self.interrupt is None else 0.0,
            device_memory_before=self._memory_before,
            processes_before=self._processes_before,
            resources_before=self._resources_before,
            workers=workers,
        )

    def result(self, logger: TelemetryLogger) -> Result:
        """Return the result; its rates are those of the telemetry file, so that the two always agree.

        Args:
            logger: Logger that wrote the telemetry file, unless the run failed.
        """
        known: dict[str, Any] = {"peak_memory_gb": self._peak_gb, **self._counts}
        if self.failure is not None:
            return failed_result(self.failure, self._subject.configuration, **known)
        assert self._run is not None  # without a run there is no success
        summary = logger.final_summary
        oversize = summary.get("oversize_batches")  # in all passes, which have the same packs
        return Result(
            status=SUCCESS,
            configuration=self._subject.configuration,
            elapsed_sec=summary["elapsed_seconds"],
            sequences_per_sec=summary["total_sequences"] / summary["elapsed_seconds"],
            tokens_per_sec=summary["avg_tokens_per_sec"],
            start_up_sec=summary.get("start_up_seconds"),
            passes=summary.get("passes"),
            measured_sec=_difference(summary["elapsed_seconds"], summary.get("start_up_seconds")),
            steady_sequences_per_sec=summary.get("steady_sequences_per_sec"),
            rough_sequences_per_sec=rate_after_first_batch(self._run.batches, self._subject.shape),
            steady_tokens_per_sec=summary.get("steady_tokens_per_sec"),
            rate_interval=summary.get("steady_interval"),
            gpu_util=summary["avg_gpu_util"],
            gpu_util_coverage=(summary.get("sampling_coverage") or {}).get("avg_gpu_util"),
            gpu_sampling_lost_after_sec=summary.get("gpu_sampling_lost_after_seconds"),
            joules_per_sequence=summary.get("joules_per_sequence"),
            packing_efficiency=summary["avg_packing_efficiency"],
            oversize_batches=None if oversize is None else oversize // self._source.passes,
            **successful_outcome(self._run),
            **known,
        )

    def _started_profiler(self) -> BatchProfiler:
        profiler = BatchProfiler(
            device=self._subject.device,
            stages=self._source.stages,
            run_id=self.run_id,
            capture_range=self._options.capture_range,
        )
        profiler.start()
        return profiler

    def _run_batches(self, profiler: BatchProfiler) -> None:
        timeout_s, on_progress, on_tokens = self._options.timeout_s, self._options.on_progress, self._options.on_tokens
        deadline_ns = None if timeout_s is None else time.monotonic_ns() + round(timeout_s * 1e9)
        if on_progress is not None:
            on_progress(0)  # a supervisor counts the time limit from here
        with closing(self._source.run(profiler, deadline_ns)) as batches:
            for batch in batches:
                self._done += batch.sequences
                self._tokens_done += batch.tokens
                if on_tokens is not None:
                    on_tokens(self._tokens_done)
                if on_progress is not None:
                    on_progress(self._done)

    def _described(self, error: Exception, profiler: BatchProfiler | None) -> Failure:
        """Return the failure with what this run knows of it."""
        failure = describe_failure(error, oom_kills_since(self._oom_kills_before), self._source.num_workers)
        known: dict[str, Any] = {"sequences_done": self._done} if profiler is not None else {}
        if failure.reason == "timeout":
            known["limit_sec"] = self._options.timeout_s
        if failure.memory == SHARED:
            known["shared_memory_free_bytes"] = free_bytes()
        return dataclasses.replace(failure, evidence={**failure.evidence, **known})

    def _miscount(self) -> Failure | None:
        """Return the failure of a run whose sequences do not add up; None if what went in came out and was recorded."""
        expected = self._source.passes * self._expected
        recorded = 0 if self._run is None else self._run.total_sequences or 0
        wrong = [
            f"{counted(count, 'sequence')} {what}"
            for count, what in ((self._done, "delivered"), (recorded, "recorded"))
            if count != expected
        ]
        if not wrong:
            return None
        if not recorded and self._run is not None and self._run.batches:
            wrong[-1] += f" in {counted(len(self._run.batches), 'batch', 'batches')}, none of which has its packing"
        evidence = {
            "delivered_sequences": self._done,
            "recorded_sequences": recorded,
            "expected_sequences": expected,
        }
        unpacked = 0 if self._run is None else len(self._run.batches) - len(self._run.batches.packed())
        why = f" ({counted(unpacked, 'batch', 'batches')} without packing: call batch.set_packing)" if unpacked else ""
        return Failure("error", f"{' and '.join(wrong)}, but {expected:,} went in{why}", evidence=evidence)

    def _log_outcome(self) -> None:
        level, configuration = self._options.failure_log_level, self._subject.configuration
        interruption = None if self._run is None else interruption_sentence(self._run)
        if interruption is not None:
            _log.log(level, "%s: %s", configuration, interruption)
        if self.failure is not None:
            _log.log(level, "%s failed with %s: %s", configuration, self.failure.reason, self.failure.message)


def _difference(whole: float, part: float | None) -> float | None:
    return None if part is None else whole - part
