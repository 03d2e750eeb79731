# SPDX-License-Identifier: MIT
"""One configuration, measured from the file of sequences to the vectors."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import esm
import numpy as np
import torch

from virnuc_profiler.analysis.model_cost import DeviceCeiling, ModelShape, arithmetic_metadata
from virnuc_profiler.analysis.summary.batch_metrics import metrics_of_run
from virnuc_profiler.analysis.summary.run_summary import run_summary
from virnuc_profiler.analysis.summary.run_telemetry import telemetry_metadata
from virnuc_profiler.capture.calibration import Ceiling
from virnuc_profiler.capture.calibration_store import load_ceiling
from virnuc_profiler.capture.profiler import BatchProfiler
from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.esm2.precision_check import MIN_COSINE
from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.inference.loading.loader import create_async_dataloader
from virnuc_profiler.inference.loading.owner_tag import owner_tag
from virnuc_profiler.inference.loading.segment_names import tag_segments
from virnuc_profiler.inference.packing.collator import VarlenCollator
from virnuc_profiler.inference.placement import resolve_device
from virnuc_profiler.inference.runner import AsyncInferenceRunner
from virnuc_profiler.inference.sequences.dataset import IndexBasedDataset, SequenceDataset
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.machine.device_memory import DeviceMemory
from virnuc_profiler.sweep.machine.oom_kills import oom_kills, oom_kills_since
from virnuc_profiler.sweep.machine.process_resources import snapshot_resources
from virnuc_profiler.sweep.machine.shared_memory import free_bytes
from virnuc_profiler.sweep.plan.configuration import Configuration
from virnuc_profiler.sweep.plan.workload import MAX_SEQUENCE_LENGTH
from virnuc_profiler.sweep.trial.cleanup import (
    COOLDOWN_S,
    CleanupReport,
    Cooldown,
    child_processes,
    cleanup_between_runs,
    close_quietly,
    worker_pids,
)
from virnuc_profiler.sweep.trial.contamination import pending_leaks, record_leaks
from virnuc_profiler.sweep.trial.failure import SHARED, Failure, describe_failure, release_traceback
from virnuc_profiler.sweep.trial.outcome import failed_result, successful_outcome, without_contamination
from virnuc_profiler.sweep.trial.provenance import machine_description, model_description, software_versions
from virnuc_profiler.telemetry.logger import TelemetryLogger
from virnuc_profiler.telemetry.run_result import RunResult

_log = logging.getLogger(__name__)


def run_single_gpu_benchmark(
    fasta_path: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    model: Any,
    device: Any,
    num_workers: int = 4,
    prefetch_factor: int = 4,
    token_budget: int = 4096,
    buffer_size: int = 2000,
    *,
    batch_converter: Any = None,
    num_sequences: int | None = None,
    cooldown_s: Cooldown = COOLDOWN_S,
    timeout_s: float | None = None,
    on_progress: Callable[[int], None] | None = None,
    metadata: Mapping[str, Any] | None = None,
    failure_log_level: int = logging.WARNING,
    capture_range: bool = False,
    min_cosine: float = MIN_COSINE,
) -> dict[str, Any]:
    """Measures one configuration, and cleans up whatever happens. Runs on the CPU too.

    The time is that of the whole run: from just before the loader starts to the last result. What was measured
    before a failure, the time limit or Ctrl-C is written to the telemetry file too, whose metadata has ``status``.

    Args:
        fasta_path: the sequences; may be gzip'd.
        output_dir: folder of ``telemetry_{run_id}.json`` and ``run_{run_id}.json``.
        model: as :func:`load_esm2_model` returns it.
        device: where the model is.
        num_workers: see :class:`Configuration`, as for the next three.
        prefetch_factor: chunks that each worker keeps ready.
        token_budget: most tokens of one packed batch.
        buffer_size: sequences collected before they are packed.
        batch_converter: fair-esm's, by default that of ESM-2.
        num_sequences: how many are run, from the first one on; all, if None.
        cooldown_s: pause of the clean-up; ``"auto"``: only as long as its checks need, two seconds at most.
        timeout_s: time limit of the run; none, if None.
        on_progress: is called with the number of sequences done, after each batch.
        metadata: is added to the telemetry's.
        failure_log_level: at which a failure is logged.
        capture_range: whether nsys or ncu are told where the measured run begins and ends, see
            :class:`BatchProfiler`.
        min_cosine: of a model in FP8, see :class:`AsyncInferenceRunner`.

    Returns:
        ``status="success"``, ``config``, ``elapsed_sec``, ``sequences_per_sec``, ``tokens_per_sec``, ``gpu_util``,
        ``packing_efficiency``, ``peak_memory_gb`` (of 10⁹ bytes), ``oversize_batches``, ``truncated_sequences``,
        ``unknown_residues``, ``telemetry_path``, ``run_path`` and ``cleanup``;
        or ``status="failed"`` with ``reason`` (``OOM``, ``worker_crash``, ``cuda_error``, ``timeout``, ``error``,
        ``contaminated``), ``message``, ``memory`` (``device``, ``host`` or ``shared memory``, for OOM) and the same
        without rates. Both have ``outcome`` (``ok``, ``throttled``, or the reason) and its ``evidence``. What was not
        measured is None; so are the paths if the device failed before the run began.

    Raises:
        ValueError: a setting is out of range.
        UsageError: the device is not there.
        WorkloadError: the sequences cannot be read.
        OutputError: the results cannot be written.
        KeyboardInterrupt: passed on once what was measured is written.
    """
    configuration = Configuration(num_workers, prefetch_factor, token_budget, buffer_size)
    trial = _Trial(
        Path(fasta_path),
        model,
        resolve_device(device),
        configuration,
        batch_converter,
        num_sequences,
        on_progress,
        capture_range,
        min_cosine,
    )
    logger = TelemetryLogger(output_dir, configuration.run_id)  # says now if the folder cannot be written
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
    files = {"telemetry_path": telemetry_path, "run_path": telemetry_path and run_path(telemetry_path)}
    paths = {name: path and str(path) for name, path in files.items()}
    record_leaks(configuration.run_id, report, model)
    result = without_contamination(trial.outcome(logger), trial.contamination)
    return {**result, **paths, "cleanup": report.as_dict()}


class _Trial:
    """The parts of one run, from the moment they exist to the proof that they are gone."""

    def __init__(
        self,
        fasta_path: Path,
        model: Any,
        device: torch.device,
        configuration: Configuration,
        batch_converter: Any,
        num_sequences: int | None,
        on_progress: Callable[[int], None] | None,
        capture_range: bool,
        min_cosine: float,
    ) -> None:
        self.configuration = configuration
        self._least_cosine = min_cosine
        self._capture_range = capture_range
        self.failure: Failure | None = None
        self.interrupt: BaseException | None = None
        self._model = model
        self._device = device
        self._on_progress = on_progress
        tag_segments(owner_tag())
        self._resources_before = snapshot_resources()
        self._fasta: Any = FastaFile.open(fasta_path)
        count = len(self._fasta)
        self._expected = count if num_sequences is None else min(num_sequences, count)
        if self._expected == 0:
            raise WorkloadError(f"{fasta_path} holds no sequences")
        self._dataset: Any = (
            SequenceDataset(self._fasta, max_sequence_length=MAX_SEQUENCE_LENGTH)
            if self._expected == count
            else IndexBasedDataset(self._fasta, np.arange(self._expected), max_sequence_length=MAX_SEQUENCE_LENGTH)
        )
        self._collator: Any = VarlenCollator(
            batch_converter or esm.data.Alphabet.from_architecture("ESM-1b").get_batch_converter(),
            max_tokens_per_batch=configuration.token_budget,
            max_sequence_length=MAX_SEQUENCE_LENGTH,
            buffer_size=configuration.buffer_size,
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
        """Runs all sequences; an error becomes :attr:`failure`, Ctrl-C :attr:`interrupt`."""
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
        if self.failure is None and self.interrupt is None and recorded != self._expected:
            self.failure = Failure("error", f"{recorded} sequences were recorded, but {self._expected} went in")
            self.failure = dataclasses.replace(
                self.failure, evidence={"recorded_sequences": recorded, "expected_sequences": self._expected}
            )
        if self.failure is not None:
            _log.log(log_level, "%s failed with %s: %s", self.configuration, self.failure.reason, self.failure.message)

    def finished_run(self, metadata: Mapping[str, Any]) -> RunResult | None:
        """The run, with all that must be known to compare it with others; None if the device let none begin."""
        if self._run is None:
            return None
        status = "success" if self.failure is None else "failed"
        description = {
            "status": status if self.interrupt is None else "interrupted",
            "failure": None if self.failure is None else dataclasses.asdict(self.failure),
            "config": self.configuration.as_dict(),
            **model_description(self._model),
            **self._precision_check(),
            "workload": {
                "path": str(self._fasta.path),
                "fingerprint": self._fasta.fingerprint,
                "num_sequences": self._expected,
                "sequences_in_file": len(self._fasta),
                **self._altered,
            },
            "peak_memory_gb": self._peak_gb,
            "hardware": machine_description(),
            "versions": software_versions(),
        }
        return dataclasses.replace(self._run, metadata={**description, **metadata})

    def clean_up(self, cooldown_s: Cooldown) -> CleanupReport:
        """Closes the parts and lets go of them, the file and its shared folder too; after Ctrl-C without the pause."""
        workers = worker_pids(self._loader)
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

    def outcome(self, logger: TelemetryLogger) -> dict[str, Any]:
        """Return the result; its rates are those of the telemetry file, so that the two always agree.

        Args:
            logger: Logger that wrote the telemetry file, unless the run failed.
        """
        config = self.configuration.as_dict()
        if self.failure is not None:
            return {**failed_result(self.failure), "config": config, "peak_memory_gb": self._peak_gb, **self._altered}
        assert self._run is not None  # without a run there is no success
        summary = logger.final_summary
        return {
            "status": "success",
            **successful_outcome(self._run),
            "config": config,
            "elapsed_sec": summary["elapsed_seconds"],
            "sequences_per_sec": summary["total_sequences"] / summary["elapsed_seconds"],
            "tokens_per_sec": summary["avg_tokens_per_sec"],
            "gpu_util": summary["avg_gpu_util"],
            "gpu_sampling_lost_after_sec": summary.get("gpu_sampling_lost_after_seconds"),
            "packing_efficiency": summary["avg_packing_efficiency"],
            "peak_memory_gb": self._peak_gb,
            "oversize_batches": summary.get("oversize_batches"),
            **self._altered,
        }

    def _described(self, error: Exception, profiler: BatchProfiler | None) -> Failure:
        """The failure, with what this run knows of it."""
        failure = describe_failure(error, oom_kills_since(self._oom_kills_before))
        known: dict[str, Any] = {"sequences_done": self._done} if profiler is not None else {}
        if failure.reason == "timeout":
            known["limit_sec"] = self._timeout_s
        if failure.memory == SHARED:
            known["shared_memory_free_bytes"] = free_bytes()
        return dataclasses.replace(failure, evidence={**failure.evidence, **known})

    def _precision_check(self) -> dict[str, Any]:
        """How far vectors in FP8 are from those in bf16 and fp32; nothing where nothing is in FP8."""
        report = None if self._runner is None else self._runner.precision
        return {} if report is None else {"precision_check": dataclasses.asdict(report)}

    def _started_profiler(self) -> BatchProfiler:
        profiler = BatchProfiler(
            device=self._device, run_id=self.configuration.run_id, capture_range=self._capture_range
        )
        profiler.start()
        return profiler

    def _run_sequences(self, profiler: BatchProfiler, timeout_s: float | None) -> None:
        self._timeout_s = timeout_s
        deadline_ns = None if timeout_s is None else time.monotonic_ns() + round(timeout_s * 1e9)
        if self._on_progress is not None:
            self._on_progress(0)  # whoever watches the time as well counts from here
        self._loader = create_async_dataloader(
            self._dataset,
            self._collator,
            num_workers=self.configuration.num_workers,
            prefetch_factor=self.configuration.prefetch_factor,
            pin_memory=self._device.type == "cuda",
            timeout_s=timeout_s or 0.0,
        )
        self._runner = AsyncInferenceRunner(
            self._model, self._device, profiler=profiler, deadline_ns=deadline_ns, min_cosine=self._least_cosine
        )
        for result in self._runner.run(self._loader):
            self._done += len(result.sequence_ids)
            if self._on_progress is not None:
                self._on_progress(self._done)


def model_shape(model: Any) -> ModelShape | None:
    """Return the shape of a model; None if it does not have the attributes of an ESM-2 model.

    Args:
        model: Model of this package or of fair-esm, which calls its hidden size ``embed_dim``.
    """
    num_layers = getattr(model, "num_layers", None)
    hidden_size = getattr(model, "hidden_size", getattr(model, "embed_dim", None))
    return None if num_layers is None or hidden_size is None else ModelShape(num_layers, hidden_size)


def record_run(logger: TelemetryLogger, run: RunResult, shape: ModelShape | None = None) -> Path:
    """Write a run as a telemetry file, and as a saved run ``run_{run_id}.json`` beside it.

    Args:
        logger: Logger that determines folder and name. It must not have recorded anything.
        run: Run to write, finished or not.
        shape: Shape of the model. The summary then has the FLOP/s that the model reached, and their share of the
            ceiling if ``doctor --calibrate`` measured it on this device.

    Returns:
        Path of the telemetry file.

    Raises:
        OutputError: One of the files cannot be written.
    """
    stored = stored_ceiling(run)
    ceiling = DeviceCeiling() if stored is None else DeviceCeiling(stored.flops_per_second, stored.sm_clock_mhz)
    # The metadata make the saved run complete: it can be diagnosed without the model and its device.
    run = replace(run, metadata={**run.metadata, **arithmetic_metadata(shape, ceiling)})
    logger.set_run_metadata(**telemetry_metadata(run))
    for index, metrics in metrics_of_run(run):
        logger.record_batch(index, metrics)
    run.save(run_path(logger.path))
    return logger.finalize(run_summary(run))


def stored_ceiling(run: RunResult) -> Ceiling | None:
    """What this run's device was calibrated at, with this driver and PyTorch; None if it was not."""
    hardware = run.metadata.get("hardware")
    known: Mapping[str, Any] = hardware if isinstance(hardware, Mapping) else {}
    return load_ceiling(
        uuid=run.device.uuid,
        precision=run.metadata.get("precision"),
        driver_version=known.get("driver_version"),
        torch_version=known.get("torch_version"),
    )


def run_path(telemetry_path: Path) -> Path:
    """Where the whole run lies, beside its telemetry file."""
    return telemetry_path.with_name(telemetry_path.name.replace("telemetry_", "run_", 1))
