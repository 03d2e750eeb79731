# SPDX-License-Identifier: MIT
"""Unmeasured runs of a few sequences, so that what happens once in a process does not count as a measurement.

That is the start of the process that workers are forked from, the first use of each kernel, and the workspaces of the
libraries.
"""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import replace
from typing import Any, Final
from weakref import WeakKeyDictionary

from virnuc_profiler.capture.start_up.preparation import preparing
from virnuc_profiler.inference.placement import resolve_device
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.plan.sample import Sample
from virnuc_profiler.sweep.trial.run import measure_configuration
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.parts.start_up_records import WARMING_UP

_SEQUENCES: Final = {"cuda": 64, "cpu": 4}
"""Number of sequences of a warm-up by type of device."""

_log = logging.getLogger(__name__)

_workers_of_warm: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""Number of workers of the warm-up by model; models that cannot be keys are warmed up for every run."""


@preparing(WARMING_UP)
def warm_up_model(
    model: Any,
    device: Any,
    fasta_path: str | os.PathLike[str] | FastaFile,
    *,
    num_workers: int,
    batch_converter: Any = None,
    num_sequences: int | None = None,
    sample: Sample | None = None,
    timeout_s: float | None = None,
) -> bool:
    """Run a few sequences unmeasured. A failure is ignored, since the first measured run will show it.

    Args:
        model: Model to warm up.
        device: Device that the model is on.
        fasta_path: Sequences to take some from.
        num_workers: DataLoader processes to start.
        batch_converter: A batch converter of fair-esm; None for that of ESM-2.
        num_sequences: Most sequences to run; None for as many as the device needs.
        sample: Sample of the file to take the first sequences of; None for those of the file.
        timeout_s: Time limit of the run in seconds; None for none.

    Returns:
        Whether they ran to the end, so that the model is warm.

    Raises:
        UsageError: The device is not there.
        WorkloadError: The sequences cannot be read.
        KeyboardInterrupt: Ctrl-C.
    """
    enough = _SEQUENCES[resolve_device(device).type]
    with tempfile.TemporaryDirectory(prefix="virnuc_profiler_") as folder:
        result = measure_configuration(
            Configuration(num_workers=num_workers),
            fasta_path,
            folder,
            model,
            device,
            batch_converter=batch_converter,
            num_sequences=enough if num_sequences is None else min(enough, num_sequences),
            sample=None if sample is None else replace(sample, positions=sample.positions[:enough]),
            cooldown_s=0.0,
            timeout_s=timeout_s,
            failure_log_level=logging.DEBUG,
        )
    _log.debug("warm-up: %s", result.status)
    return result.succeeded


def ensure_warm(
    model: Any, device: Any, fasta_path: str | os.PathLike[str] | FastaFile, *, num_workers: int, **more: Any
) -> bool:
    """Warm up a model that was not warmed up yet, or only without workers where there are some now.

    Args:
        model: Model to warm up.
        device: Device that the model is on.
        fasta_path: Sequences to take some from.
        num_workers: DataLoader processes to start.
        **more: Further arguments of :func:`warm_up_model`.

    Returns:
        Whether the model is warm. One whose warm-up failed is warmed up again by the next run.
    """
    try:
        if _workers_of_warm.get(model, -1) >= num_workers:
            return True
    except TypeError:
        _log.debug("a %s cannot be remembered, so it is warmed up for every run", type(model).__name__)
        return warm_up_model(model, device, fasta_path, num_workers=num_workers, **more)
    warm = warm_up_model(model, device, fasta_path, num_workers=num_workers, **more)
    if warm:
        _workers_of_warm[model] = num_workers
    return warm
