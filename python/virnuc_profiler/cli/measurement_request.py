# SPDX-License-Identifier: MIT
"""From the options of ``sweep`` and ``profile`` to a request, with everything checked that can be checked early."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from virnuc_profiler.errors import OutputError
from virnuc_profiler.inference.loading.interrupts import deferred_interrupts

if TYPE_CHECKING:
    import torch

    from virnuc_profiler.sweep.plan.request import DeviceName, Request
    from virnuc_profiler.sweep.plan.workload import Workload

RESULTS_FOLDER: Final = "tuning_results"
FASTA_VARIABLE: Final = "VIRNUCPRO_PRODUCTION_FASTA"

_MAX_PATH: Final = 4096

DEFAULT_MODEL: Final = {"cuda": "esm2_t36_3B_UR50D", "cpu": "esm2_t6_8M_UR50D"}
DEFAULT_SEQUENCES: Final = {"cuda": 2000, "cpu": 72}
"""On two CPU cores the whole default sweep of the 8M model over so many sequences ends within four minutes."""


def resolve_device_here(device: str, precision: str | None) -> torch.device:
    """The device that is meant, asked in this process.

    Raises:
        UsageError: it is not there, or the precision does not fit it.
    """
    with deferred_interrupts():  # PyTorch takes seconds to import, and Python itself dies of Ctrl-C in it
        from virnuc_profiler.inference.placement import resolve_device, resolve_precision

    found = resolve_device(device)
    resolve_precision(precision, True, found)
    return found


def build_request(
    arguments: argparse.Namespace,
    *,
    limit_file: bool,
    fasta: Path | None = None,
    resolve_device: Callable[[str, str | None], torch.device | DeviceName] = resolve_device_here,
) -> Request:
    """The request that the options make.

    Args:
        arguments: the parsed options; ``output_dir`` is filled in if it was not given.
        limit_file: whether a file of the user's is limited to the default number of sequences too.
        fasta: stands in for ``--fasta``.
        resolve_device: finds the device and checks that the precision fits it.

    Raises:
        UsageError: the device is not there, or the precision does not fit it.
    """
    from virnuc_profiler.sweep.plan.request import Request

    device = resolve_device(arguments.device, arguments.precision)
    fill_in_folder(arguments)
    fasta = arguments.fasta or fasta
    count = arguments.num_sequences
    if count is None and (fasta is None or limit_file):
        count = DEFAULT_SEQUENCES[device.type]
    return Request(
        output_dir=arguments.output_dir,
        device=device,
        model=arguments.model or DEFAULT_MODEL[device.type],
        fasta=fasta,
        num_sequences=count,
        weights=arguments.weights,
        precision=arguments.precision,
        cooldown_s=arguments.cooldown,
        timeout_s=arguments.timeout,
        min_cosine=arguments.min_cosine,
        seed=arguments.seed,
        device_memory_gb=arguments.device_memory_gb,
        capture_range=getattr(arguments, "capture_range", False),
        try_all=arguments.try_all,
    )


def fill_in_folder(arguments: argparse.Namespace) -> Path:
    """The folder of the results: the one that was asked for, or one named by the time, which is filled in."""
    if arguments.output_dir is None:
        stamp = datetime.now().astimezone().strftime("%Y%m%d_%H%M%S")
        arguments.output_dir = Path(RESULTS_FOLDER) / f"{arguments.command}_{stamp}"
    folder: Path = arguments.output_dir
    return folder


def fasta_of_environment() -> Path | None:
    """The production file that the environment names for sweeps."""
    name = os.environ.get(FASTA_VARIABLE)
    return Path(name) if name else None


def require_writable(folder: Path) -> None:
    """Makes the folder and checks that it can be written, before time is spent on results that it is to hold.

    Raises:
        OutputError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0")
            probe.flush()
    except OSError as error:
        raise OutputError(
            f"cannot write into {folder}: {error.strerror or error}; choose another --output-dir"
        ) from error


def shown_path(path: Path | str) -> str:
    """A path for a terminal: what its name could command it is escaped."""
    from virnuc_profiler.telemetry.values import printable  # needs NumPy, which --help does not

    return printable(str(path), _MAX_PATH)


def describe_workload(workload: Workload) -> str:
    """One line that says what is run, and what of a file is not."""
    count = f"{workload.num_sequences:,} sequences"
    if workload.num_sequences < workload.sequences_in_file:
        count = f"the first {workload.num_sequences:,} of {workload.sequences_in_file:,} sequences"
        hint = "; --num-sequences N changes that"
    else:
        hint = ""
    return f"Workload: {count} of {shown_path(workload.path)} ({workload.source}), {workload.tokens:,} tokens{hint}"
