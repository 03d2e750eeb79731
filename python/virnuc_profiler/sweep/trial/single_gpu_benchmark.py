# SPDX-License-Identifier: MIT
"""The benchmark of one configuration as a function, for scripts and tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from virnuc_profiler.inference.esm2.precision_check import MIN_COSINE
from virnuc_profiler.inference.sequences.dataset import open_fasta
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.trial.cleanup import COOLDOWN_S, Cooldown
from virnuc_profiler.sweep.trial.run import measure_configuration
from virnuc_profiler.sweep.trial.warm_up import ensure_warm
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.logger import TelemetryLogger


def run_single_gpu_benchmark(
    fasta_path: str | os.PathLike[str] | FastaFile,
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
    warm_up: bool = True,
    precision_target: float | None = None,
    trial_seconds: float | None = None,
) -> dict[str, Any]:
    """Measure one configuration, and clean up whatever happens. Runs on the CPU too.

    The first call for a model runs a few sequences unmeasured before, as a sweep does, so that the first use of each
    kernel and the start of the process that workers are forked from do not count; ``warmed_up`` says so.

    The time is that of the whole run, from just before the loader starts to the last result. What was measured before
    a failure, the time limit or Ctrl-C is also written to the telemetry file, whose metadata has ``status``.

    Args:
        fasta_path: The sequences, a path or an open file; the file may be compressed.
        output_dir: Folder of ``telemetry_{run_id}.json`` and ``run_{run_id}.json``.
        model: A model as :func:`load_esm2_model` returns it.
        device: The device that the model is on.
        num_workers: DataLoader processes that read and encode; 0 does it in this process.
        prefetch_factor: Chunks that each worker keeps ready.
        token_budget: Most tokens of one packed batch, BOS and EOS included.
        buffer_size: Sequences that are collected before they are packed.
        batch_converter: A batch converter of fair-esm; None for that of ESM-2.
        num_sequences: Number of sequences to run, from the first one on; None for all.
        cooldown_s: Pause of the clean-up in seconds; ``"auto"`` waits as long as its checks need, for two seconds at
            most.
        timeout_s: Time limit of the run in seconds; None for none.
        on_progress: Called with the number of sequences that are done, after each batch.
        metadata: Further metadata for the telemetry file.
        failure_log_level: Level at which a failure or an interruption is logged.
        capture_range: Whether to mark the measured run for nsys or ncu, see :class:`BatchProfiler`.
        min_cosine: Lowest cosine similarity that a model in FP8 must reach, see :class:`AsyncInferenceRunner`.
        warm_up: Whether to warm up a model that this function has not warmed up yet. Without it, the first call for a
            model counts what happens once in a process.
        precision_target: Relative half-width of the steady rate's interval at which the sequences are run no further
            time; None to run them again for `trial_seconds`.
        trial_seconds: Seconds after start-up during which the sequences are run again and again, always to the end;
            None to run them once.

    Returns:
        ``status="success"``, ``config``, ``elapsed_sec``, ``sequences_per_sec``, ``tokens_per_sec``,
        ``start_up_sec``, ``passes``, ``measured_sec`` (after start-up), ``steady_sequences_per_sec``,
        ``steady_tokens_per_sec`` and its ``rate_interval``, ``gpu_util`` (and ``gpu_util_coverage`` if it was sampled),
        ``joules_per_sequence``, ``packing_efficiency``, ``peak_memory_gb`` (of 10⁹ bytes), ``oversize_batches``,
        ``truncated_sequences``, ``unknown_residues``, ``warmed_up``, ``telemetry_path``, ``run_path`` and ``cleanup``;
        or ``status="failed"`` with ``reason`` (``OOM``, ``worker_crash``, ``cuda_error``, ``timeout``, ``error``,
        ``environment``, ``contaminated``), ``message``, ``memory`` (``device``, ``host`` or ``shared memory``, for OOM)
        and the same keys without rates. Both have ``outcome`` (``ok``, ``throttled``, ``interrupted``, or the reason)
        and its ``evidence``. What was not measured is None; so are the paths if the device failed before the run began.

    Raises:
        ValueError: A knob is out of its range.
        UsageError: The device is not there.
        WorkloadError: The sequences cannot be read.
        OutputError: The results cannot be written.
        KeyboardInterrupt: Ctrl-C; it is passed on once what was measured is written.
    """
    configuration = Configuration(num_workers, prefetch_factor, token_budget, buffer_size)
    warmed_up = False
    if warm_up:
        TelemetryLogger(output_dir, configuration.run_id)  # fails here if the folder cannot be written
        fasta_path = open_fasta(fasta_path)
        warmed_up = ensure_warm(
            model,
            device,
            fasta_path,
            num_workers=min(1, num_workers),
            batch_converter=batch_converter,
            num_sequences=num_sequences,
            timeout_s=timeout_s,
        )
    return measure_configuration(
        configuration,
        fasta_path,
        output_dir,
        model,
        device,
        batch_converter=batch_converter,
        num_sequences=num_sequences,
        cooldown_s=cooldown_s,
        timeout_s=timeout_s,
        on_progress=on_progress,
        metadata=metadata,
        failure_log_level=failure_log_level,
        capture_range=capture_range,
        min_cosine=min_cosine,
        warmed_up=warmed_up,
        precision_target=precision_target,
        trial_seconds=trial_seconds,
    ).to_json()
