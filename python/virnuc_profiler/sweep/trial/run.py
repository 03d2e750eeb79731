# SPDX-License-Identifier: MIT
"""One configuration of the built-in pipeline, measured from the file of sequences to the vectors."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.esm2.precision_check import MIN_COSINE
from virnuc_profiler.inference.placement import resolve_device
from virnuc_profiler.inference.sequences.dataset import open_fasta
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.machine.process_resources import snapshot_resources
from virnuc_profiler.sweep.plan.sample import Sample
from virnuc_profiler.sweep.plan.workload import MAX_SEQUENCE_LENGTH
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.sweep.trial.cleanup import COOLDOWN_S, Cooldown
from virnuc_profiler.sweep.trial.provenance import model_description, software_versions, workload_description
from virnuc_profiler.sweep.trial.run_files import model_shape
from virnuc_profiler.sweep.trial.trial_run import TrialOptions, TrialSubject, run_trial
from virnuc_profiler.targets.builtin_source import BuiltinSource
from virnuc_profiler.targets.knobs.configuration import Configuration


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
    fasta, found_device = open_fasta(fasta_path), resolve_device(device)
    del fasta_path
    fingerprint = fasta.fingerprint  # of what is about to be read, not of what is there afterwards
    fasta.require_unchanged()
    positions = np.arange(len(fasta))[:num_sequences] if sample is None else sample.positions
    if not len(positions):
        raise WorkloadError(f"{fasta.path} holds no sequences")
    subject = TrialSubject(
        owner=model,
        device=found_device,
        configuration=configuration,
        workload=workload_description(fasta, fingerprint, positions, sample),
        description=model_description(model),
        versions=software_versions(),
        shape=model_shape(model),
    )
    source = BuiltinSource(
        fasta,
        None if sample is None and len(positions) == len(fasta) else positions,
        model,
        found_device,
        configuration,
        max_residues=MAX_SEQUENCE_LENGTH,
        batch_converter=batch_converter,
        min_cosine=min_cosine,
        timeout_s=timeout_s,
        precision_target=precision_target,
        trial_seconds=trial_seconds,
        count_tokens=on_tokens is not None,
    )
    del fasta  # the file of this run alone is closed with the source, before the run's leaks are looked for
    options = TrialOptions(
        cooldown_s=cooldown_s,
        timeout_s=timeout_s,
        on_progress=on_progress,
        on_tokens=on_tokens,
        metadata=metadata or {},
        failure_log_level=failure_log_level,
        capture_range=capture_range,
        warmed_up=warmed_up,
    )
    return run_trial(source, subject, output_dir, options, before)
