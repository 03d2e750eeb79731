# SPDX-License-Identifier: MIT
"""Makes a request of the options of ``sweep`` and ``profile``, and checks what can be checked early."""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from virnuc_profiler.errors import OutputError, folder_problem
from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.inference.sequences.findings import sentence
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, BUILTIN_TARGET, KnobSet
from virnuc_profiler.telemetry.number_text import counted

if TYPE_CHECKING:
    import torch

    from virnuc_profiler.sweep.plan.request import ModelKnobs, Request, ResolveDevice
    from virnuc_profiler.sweep.plan.steps import Grid
    from virnuc_profiler.sweep.plan.workload import Workload
    from virnuc_profiler.targets.knobs.knob import KnobValue

RESULTS_FOLDER: Final = "tuning_results"
FASTA_VARIABLE: Final = "VIRNUCPRO_PRODUCTION_FASTA"

_log = logging.getLogger(__name__)

_MAX_PATH: Final = 4096

DEFAULT_MODEL: Final = {"cuda": "esm2_t36_3B_UR50D", "cpu": "esm2_t6_8M_UR50D"}
DEFAULT_SEQUENCES: Final = {"cuda": 2000, "cpu": 72}
"""On two CPU cores, the whole default sweep of the 8M model over 72 sequences ends within four minutes."""


def resolve_device_here(device: str, knobs: ModelKnobs) -> torch.device:
    """Resolve a device in this process.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        knobs: Values of the model's knobs that will be used.

    Raises:
        UsageError: The device is not there, or cannot compute with one of the values.
    """
    with deferred_interrupts():  # Python dies of Ctrl-C during the seconds in which PyTorch is imported
        from virnuc_profiler.sweep.trial.device_support import resolve_supported_device

    return resolve_supported_device(device, knobs)


def build_request(
    arguments: argparse.Namespace,
    *,
    limit_file: bool,
    grid: Grid | None = None,
    fasta: Path | None = None,
    resolve_device: ResolveDevice = resolve_device_here,
    target_knobs: KnobSet = BUILTIN_KNOBS,
) -> Request:
    """Make the request that the options describe.

    Args:
        arguments: The parsed options. ``output_dir`` is filled in if it was not given.
        limit_file: Whether a file of the user's is limited to the default number of sequences too.
        grid: Lists of values that a sweep tries; the model's knobs that are not in it are fixed.
        fasta: File of sequences to use if ``--fasta`` was not given.
        resolve_device: Resolves the device and checks that it can compute with the model's knobs.
        target_knobs: Knobs of the target.

    Raises:
        UsageError: The device is not there, or cannot compute with a value of the model's knobs.
    """
    from virnuc_profiler.sweep.plan.request import Request, model_knobs

    grid = grid or {}
    knobs = model_knobs(grid, fixed_model_knobs(arguments), target_knobs)
    device = resolve_device(arguments.device, knobs)
    fill_in_folder(arguments)
    fasta = arguments.fasta or fasta
    count = arguments.num_sequences
    if count is None and (fasta is None or limit_file):
        count = DEFAULT_SEQUENCES[device.type]
    return Request(
        output_dir=arguments.output_dir,
        device=device,
        model=arguments.model or (DEFAULT_MODEL[device.type] if arguments.target == BUILTIN_TARGET else None),
        fasta=fasta,
        num_sequences=count,
        weights=arguments.weights,
        model_knobs={name: values[0] for name, values in knobs.items()},
        varied=tuple(name for name in knobs if name in grid),
        cooldown_s=arguments.cooldown,
        timeout_s=arguments.timeout,
        min_cosine=arguments.min_cosine,
        seed=arguments.seed,
        device_memory_gb=arguments.device_memory_gb,
        capture_range=getattr(arguments, "capture_range", False),
        try_all=arguments.try_all,
        skip_invalid=arguments.skip_invalid,
        strict=arguments.strict,
        first=arguments.first,
        precision_target=getattr(arguments, "precision_target", None),
        trial_seconds=getattr(arguments, "trial_seconds", None),
        target=arguments.target,
    )


def fixed_model_knobs(arguments: argparse.Namespace) -> dict[str, KnobValue]:
    """Return the model's knobs that were given a single value; None for the default."""
    given = {name: getattr(arguments, name) for name in BUILTIN_KNOBS.model_knobs}
    return {name: value[0] if isinstance(value, tuple) else value for name, value in given.items()}


def fill_in_folder(arguments: argparse.Namespace) -> Path:
    """Return the folder of the results; if none was given, fill in one that is named by the time."""
    if arguments.output_dir is None:
        stamp = datetime.now().astimezone().strftime("%Y%m%d_%H%M%S")
        arguments.output_dir = Path(RESULTS_FOLDER) / f"{arguments.command}_{stamp}"
    folder: Path = arguments.output_dir
    return folder


def fasta_of_environment() -> Path | None:
    """Return the file that the environment names for sweeps; None if it names none."""
    name = os.environ.get(FASTA_VARIABLE)
    return Path(name) if name else None


def require_writable(folder: Path) -> None:
    """Make a folder and check that it can be written, before time is spent on its results.

    Raises:
        OutputError: The folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0")
            probe.flush()
    except OSError as error:
        raise OutputError(
            f"cannot write into {folder}: {folder_problem(error)}; choose another --output-dir"
        ) from error


def shown_path(path: Path | str) -> str:
    """Return a path for a terminal, with control characters escaped."""
    from virnuc_profiler.telemetry.values import printable  # needs NumPy, which --help does not

    return printable(str(path), _MAX_PATH)


def describe_workload(workload: Workload) -> str:
    """Return one line that says what is run, and how much of a file is not."""
    from virnuc_profiler.sweep.plan.workload import FIRST, SKIPPED_FILE  # needs NumPy, which --help does not

    if workload.part is not None:
        mine = workload.part
        return (
            f"Workload: part {mine.index + 1} of {mine.count}, {workload.num_sequences:,} of the "
            f"{counted(mine.whole, 'sequence')} of {shown_path(workload.path)} that all ranks run ({workload.source}), "
            f"{counted(workload.tokens, 'token')}"
        )
    count = counted(workload.num_sequences, "sequence")
    part = workload.num_sequences < workload.sequences_in_file
    of_all = f"{workload.num_sequences:,} of {counted(workload.sequences_in_file, 'sequence')}"
    how = ""
    if workload.sampling == FIRST:
        count = f"the first {of_all}" if part else count
    else:
        count = f"a random sample of {of_all}" if part else count
        how = _sample_text(workload)
    if workload.skipped_records:
        left_out = counted(workload.skipped_records, "invalid record is", "invalid records are")
        how += f"; {left_out} left out, see {SKIPPED_FILE}"
    if part:
        how += "; --num-sequences N changes that"
    tokens = counted(workload.tokens, "token")
    return f"Workload: {count} of {shown_path(workload.path)} ({workload.source}), {tokens}{how}"


def _sample_text(workload: Workload) -> str:
    """Return how the sequences of a file were sampled, and how well they stand for it."""
    if workload.num_sequences == workload.sequences_in_file:
        return f"; in random order (seed {workload.seed}), --first keeps that of the file"
    strata = f"one of each of {counted(workload.num_sequences, 'stratum', 'strata')} of length, seed {workload.seed}"
    means = f"a mean of {_mean(workload.tokens, workload.num_sequences)} tokens"
    if workload.tokens_in_file is not None:
        means += f" where the file has {_mean(workload.tokens_in_file, workload.sequences_in_file)}"
    return f": {strata}, {means}; --first takes the first {workload.num_sequences:,}"


def _mean(tokens: int, sequences: int) -> str:
    return f"{tokens / sequences:,.1f}"


def warn_of_findings(workload: Workload) -> None:
    """Warn once of residues that are unlikely to be a protein's, and say what was read over."""
    if workload.findings:
        _log.warning("%s: %s", shown_path(workload.path), sentence(workload.findings))
