# SPDX-License-Identifier: MIT
"""One configuration, measured from the file of sequences to the vectors."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from virnuc_profiler.analysis.host.interruptions import interruption_sentence
from virnuc_profiler.analysis.summary.rough_rate import rate_after_first_batch
from virnuc_profiler.capture.profiler import BatchProfiler
from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.batches import PackedBatch
from virnuc_profiler.inference.esm2.precision_check import MIN_COSINE
from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.inference.loading.loader import create_async_dataloader
from virnuc_profiler.inference.loading.owner_tag import owner_tag, tag_segments
from virnuc_profiler.inference.packing.collator import VarlenCollator
from virnuc_profiler.inference.placement import resolve_device
from virnuc_profiler.inference.runner import AsyncInferenceRunner
from virnuc_profiler.inference.sequences.dataset import IndexBasedDataset, SequenceDataset, open_fasta
from virnuc_profiler.inference.sequences.fair_esm import import_fair_esm
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.machine.device_memory import DeviceMemory
from virnuc_profiler.sweep.machine.oom_kills import oom_kills, oom_kills_since
from virnuc_profiler.sweep.machine.process_resources import ProcessResources, snapshot_resources
from virnuc_profiler.sweep.machine.shared_memory import free_bytes
from virnuc_profiler.sweep.plan.sample import Sample
from virnuc_profiler.sweep.plan.workload import MAX_SEQUENCE_LENGTH, token_counts
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
from virnuc_profiler.sweep.trial.provenance import (
    machine_description,
    model_description,
    software_versions,
    workload_description,
)
from virnuc_profiler.sweep.trial.repetition import Repetition
from virnuc_profiler.sweep.trial.run_files import model_shape, record_run, run_path
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.logger import TelemetryLogger
from virnuc_profiler.telemetry.number_text import counted
from virnuc_profiler.telemetry.run_result import RunResult

_log = logging.getLogger(__name__)


def measure_configuration(
    configuration: Configuration,
    fasta_path: str | os.PathLike[str] | FastaFile,
    output_dir: str | os.PathLike[str],
    model: Any,
    device: Any,
    *,
    batch_converter: Any = None,
    num_sequences: int | None = None,
    sample: Sample | None = None,
    cooldown_s: Cooldown = COOLDOWN_S,
    timeout_s: float | None = None,
    on_progress: Callable[[int], None] | None = None,
    on_tokens: Callable[[int], None] | None = None,
    metadata: Mapping[str, Any] | None = None,
    failure_log_level: int = logging.WARNING,
    capture_range: bool = False,
    min_cosine: float = MIN_COSINE,
    warmed_up: bool | None = None,
    precision_target: float | None = None,
    trial_seconds: float | None = None,
) -> Result:
    """Measure one configuration, and clean up whatever happens. Runs on the CPU too.

    The time is that of the whole run, from just before the loader starts to the last result. With `trial_seconds` the
    run may have several passes over the sequences, which the same workers read without a pause in between. What was
    measured before a failure, the time limit or Ctrl-C is also written to the telemetry file, whose metadata has
    ``status``.

    Args:
        configuration: Values of all knobs. Those of the model's knobs only name the model that is passed.
        fasta_path: The sequences, a path or an open file; the file may be compressed.
        output_dir: Folder of the telemetry file and the run.
        model: A model as :func:`load_esm2_model` returns it.
        device: The device that the model is on.
        batch_converter: A batch converter of fair-esm; None for that of ESM-2.
        num_sequences: Number of sequences to run, from the first one on; None for all.
        sample: Sequences to run instead, and their order.
        cooldown_s: Pause of the clean-up in seconds, or ``"auto"``.
        timeout_s: Time limit of the run in seconds; None for none.
        on_progress: Called with the number of sequences that are done in all passes, after each batch.
        on_tokens: Called with the number of their tokens, after each batch. Time grows with tokens: the first packs of
            each buffer hold few, long sequences.
        metadata: Further metadata for the telemetry file.
        failure_log_level: Level at which a failure or an interruption is logged.
        capture_range: Whether to mark the measured run for nsys or ncu.
        min_cosine: Lowest cosine similarity that a model in FP8 must reach.
        warmed_up: Whether the model was warmed up before, for the result; None if nothing is known of it.
        precision_target: Relative half-width of the steady rate's interval at which the sequences are run no further
            time; None to run them again for `trial_seconds`.
        trial_seconds: Seconds after start-up during which the sequences are run again and again, always to the end;
            None to run them once.

    Raises:
        ValueError: A knob is out of its range.
        UsageError: The device is not there.
        WorkloadError: The sequences cannot be read.
        OutputError: The results cannot be written.
        KeyboardInterrupt: Ctrl-C; it is passed on once what was measured is written.
    """
    # An index of this run's own is closed with it, and would hide as many files that are left open.
    own_index = not isinstance(fasta_path, FastaFile)
    before = snapshot_resources() if own_index else None
    trial = _TrialRun(
        open_fasta(fasta_path),
        model,
        resolve_device(device),
        configuration,
        batch_converter,
        num_sequences,
        sample,
        on_progress,
        on_tokens,
        capture_range,
        min_cosine,
        before,
        precision_target,
        trial_seconds,
    )
    logger = TelemetryLogger(output_dir, trial.run_id)  # fails here if the folder cannot be written
    report: CleanupReport | None = None
    telemetry_path: Path | None = None
    try:
        trial.measure(timeout_s, failure_log_level)
        with deferred_interrupts():
            run = trial.finished_run(metadata or {})
            if run is not None:
                telemetry_path = record_run(logger, run, model_shape(model))
    finally:
        with deferred_interrupts():
            report = trial.clean_up(cooldown_s)
    if trial.interrupt is not None:
        raise trial.interrupt
    record_leaks(trial.run_id, report, model)
    return dataclasses.replace(
        without_contamination(trial.result(logger), trial.contamination),
        warmed_up=warmed_up,
        telemetry_path=None if telemetry_path is None else str(telemetry_path),
        run_path=None if telemetry_path is None else str(run_path(telemetry_path)),
        cleanup=report.as_dict(),
    )


class _TrialRun:
    """The parts of one run, from their creation to the proof that they are gone."""

    def __init__(
        self,
        fasta: FastaFile,
        model: Any,
        device: torch.device,
        configuration: Configuration,
        batch_converter: Any,
        num_sequences: int | None,
        sample: Sample | None,
        on_progress: Callable[[int], None] | None,
        on_tokens: Callable[[int], None] | None,
        capture_range: bool,
        min_cosine: float,
        resources_before: ProcessResources | None,
        precision_target: float | None,
        trial_seconds: float | None,
    ) -> None:
        self.configuration = configuration
        self.run_id = configuration.run_id if sample is None else sample.run_id(configuration.run_id)
        self._min_cosine = min_cosine
        self._capture_range = capture_range
        self.failure: Failure | None = None
        self.interrupt: BaseException | None = None
        self._model = model
        self._device = device
        self._on_progress = on_progress
        self._on_tokens = on_tokens
        self._tokens_done = 0
        self._precision_target = precision_target
        self._trial_seconds = trial_seconds
        self._passes = 1
        # A file of the caller's outlives this run, so all of it is opened before the run's resources are counted.
        self._fasta: Any = fasta
        fingerprint = fasta.fingerprint  # of what is about to be read, not of what is there afterwards
        fasta.require_unchanged()
        count = len(fasta)
        tag_segments(owner_tag())
        self._resources_before = snapshot_resources() if resources_before is None else resources_before
        dataset_options = {"max_sequence_length": MAX_SEQUENCE_LENGTH, **configuration.arguments("dataset")}
        collator_options = {"max_sequence_length": MAX_SEQUENCE_LENGTH, **configuration.arguments("collator")}
        positions = np.arange(count)[:num_sequences] if sample is None else sample.positions
        self._expected = len(positions)
        if self._expected == 0:
            raise WorkloadError(f"{fasta.path} holds no sequences")
        self._workload = workload_description(fasta, fingerprint, positions, sample)
        self._dataset: Any = (
            SequenceDataset(self._fasta, **dataset_options)
            if sample is None and self._expected == count
            else IndexBasedDataset(self._fasta, positions, **dataset_options)
        )
        self._collator: Any = VarlenCollator(
            batch_converter or import_fair_esm().data.Alphabet.from_architecture("ESM-1b").get_batch_converter(),
            **collator_options,
        )
        self._loader: Any = None
        self._runner: AsyncInferenceRunner | None = None
        self._run: RunResult | None = None
        self._altered: dict[str, int] = {}
        self._done = 0
        self._timeout_s: float | None = None
        self._memory = DeviceMemory(device)
        self.contamination = pending_leaks(model, self._memory)
        self._processes_before = child_processes()
        self._oom_kills_before = oom_kills()
        self._memory_before = self._memory.allocated_bytes()
        self._memory.reset_peak()
        self._peak_gb: float | None = None

    def measure(self, timeout_s: float | None, log_level: int = logging.WARNING) -> None:
        """Run all sequences; an error becomes :attr:`failure`, and Ctrl-C becomes :attr:`interrupt`."""
        profiler: BatchProfiler | None = None
        try:
            profiler = self._started_profiler()
            self._run_sequences(profiler, timeout_s)
        except Exception as error:
            self.failure = self._described(error, profiler)
            _log.debug("%s failed", self.configuration, exc_info=error)
            release_traceback(error)
        except BaseException as error:
            self.interrupt = type(error)(*error.args)
            release_traceback(error)
        with deferred_interrupts():
            self._run = None if profiler is None else profiler.stop()
            self._peak_gb = self._memory.peak_gb()
        self._altered = {
            "truncated_sequences": self._collator.truncated,
            "unknown_residues": self._collator.unknown_residues,
        }
        recorded = 0 if self._run is None else self._run.total_sequences
        expected = self._passes * self._expected
        if self.failure is None and self.interrupt is None and recorded != expected:
            message = f"{counted(recorded or 0, 'sequence')} recorded, but {expected:,} went in"
            evidence = {"recorded_sequences": recorded, "expected_sequences": expected}
            self.failure = Failure("error", message, evidence=evidence)
        interruption = None if self._run is None else interruption_sentence(self._run)
        if interruption is not None:
            _log.log(log_level, "%s: %s", self.configuration, interruption)
        if self.failure is not None:
            _log.log(log_level, "%s failed with %s: %s", self.configuration, self.failure.reason, self.failure.message)

    def finished_run(self, metadata: Mapping[str, Any]) -> RunResult | None:
        """Return the run with what is needed to compare it with others; None if the device failed before it began."""
        if self._run is None:
            return None
        status = "success" if self.failure is None else "failed"
        description = {
            "status": status if self.interrupt is None else "interrupted",
            "failure": None if self.failure is None else dataclasses.asdict(self.failure),
            "config": self.configuration.to_json(),
            "passes": (self._run.total_sequences or 0) // self._expected,
            **model_description(self._model),
            **self._precision_check(),
            "workload": {**self._workload, **self._altered},
            "peak_memory_gb": self._peak_gb,
            "hardware": machine_description(),
            "versions": software_versions(),
        }
        return dataclasses.replace(self._run, metadata={**description, **metadata})

    def clean_up(self, cooldown_s: Cooldown) -> CleanupReport:
        """Close and release the parts, the file and its shared folder too; without the pause after Ctrl-C."""
        workers = () if self._loader is None else self._loader.worker_pids()
        close_quietly(self._runner)
        close_quietly(self._loader)
        self._loader = self._runner = self._dataset = self._fasta = self._collator = None
        return cleanup_between_runs(
            device=self._device,
            cooldown_s=cooldown_s if self.interrupt is None else 0.0,
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
        known: dict[str, Any] = {"peak_memory_gb": self._peak_gb, **self._altered}
        if self.failure is not None:
            return failed_result(self.failure, self.configuration, **known)
        assert self._run is not None  # without a run there is no success
        summary = logger.final_summary
        oversize = summary.get("oversize_batches")  # in all passes, which have the same packs
        return Result(
            status=SUCCESS,
            configuration=self.configuration,
            elapsed_sec=summary["elapsed_seconds"],
            sequences_per_sec=summary["total_sequences"] / summary["elapsed_seconds"],
            tokens_per_sec=summary["avg_tokens_per_sec"],
            start_up_sec=summary.get("start_up_seconds"),
            passes=summary.get("passes"),
            measured_sec=_difference(summary["elapsed_seconds"], summary.get("start_up_seconds")),
            steady_sequences_per_sec=summary.get("steady_sequences_per_sec"),
            rough_sequences_per_sec=rate_after_first_batch(self._run.batches, model_shape(self._model)),
            steady_tokens_per_sec=summary.get("steady_tokens_per_sec"),
            rate_interval=summary.get("steady_interval"),
            gpu_util=summary["avg_gpu_util"],
            gpu_util_coverage=(summary.get("sampling_coverage") or {}).get("avg_gpu_util"),
            gpu_sampling_lost_after_sec=summary.get("gpu_sampling_lost_after_seconds"),
            joules_per_sequence=summary.get("joules_per_sequence"),
            packing_efficiency=summary["avg_packing_efficiency"],
            oversize_batches=None if oversize is None else oversize // self._passes,
            **successful_outcome(self._run),
            **known,
        )

    def _described(self, error: Exception, profiler: BatchProfiler | None) -> Failure:
        """Return the failure with what this run knows of it."""
        failure = describe_failure(error, oom_kills_since(self._oom_kills_before), self.configuration.num_workers)
        known: dict[str, Any] = {"sequences_done": self._done} if profiler is not None else {}
        if failure.reason == "timeout":
            known["limit_sec"] = self._timeout_s
        if failure.memory == SHARED:
            known["shared_memory_free_bytes"] = free_bytes()
        return dataclasses.replace(failure, evidence={**failure.evidence, **known})

    def _precision_check(self) -> dict[str, Any]:
        """Return how far vectors in FP8 are from those in bf16 and fp32; empty for other precisions."""
        report = None if self._runner is None else self._runner.precision
        return {} if report is None else {"precision_check": dataclasses.asdict(report)}

    def _started_profiler(self) -> BatchProfiler:
        profiler = BatchProfiler(device=self._device, run_id=self.run_id, capture_range=self._capture_range)
        profiler.start()
        return profiler

    def _run_sequences(self, profiler: BatchProfiler, timeout_s: float | None) -> None:
        self._timeout_s = timeout_s
        deadline_ns = None if timeout_s is None else time.monotonic_ns() + round(timeout_s * 1e9)
        if self._on_progress is not None:
            self._on_progress(0)  # a supervisor counts the time limit from here
        self._loader = create_async_dataloader(
            self._dataset,
            self._collator,
            pin_memory=self._device.type == "cuda",
            timeout_s=timeout_s or 0.0,
            **self.configuration.arguments("loader"),
        )
        self._runner = AsyncInferenceRunner(
            self._model, self._device, profiler=profiler, deadline_ns=deadline_ns, min_cosine=self._min_cosine
        )
        repetition = None
        batches: Iterable[PackedBatch] = self._loader
        if self._trial_seconds is not None:
            repetition = Repetition(self._workload["tokens"], self._trial_seconds, self._precision_target, deadline_ns)
            batches = self._loader.passes(repetition.another)
        for result in self._runner.run(batches):
            self._done += len(result.sequence_ids)
            if self._on_tokens is not None or repetition is not None:
                tokens = int(token_counts(self._fasta, result.positions).sum())
                self._tokens_done += tokens
                if repetition is not None:
                    repetition.deliver(tokens)
                if self._on_tokens is not None:
                    self._on_tokens(self._tokens_done)
            if self._on_progress is not None:
                self._on_progress(self._done)
        if repetition is not None:
            self._passes = repetition.passes


def _difference(whole: float, part: float | None) -> float | None:
    return None if part is None else whole - part
