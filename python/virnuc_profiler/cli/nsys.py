# SPDX-License-Identifier: MIT
"""``profile --nsys``: run the same command under Nsight Systems, and show its capture beside the run."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from virnuc_profiler.cli.correlate import correlate_run
from virnuc_profiler.cli.measurement_request import require_writable, shown_path
from virnuc_profiler.errors import OutputError, UsageError

_PYTHON: Final = (sys.executable, "-m", "virnuc_profiler")
_FINISH_S: Final = 120.0
"""Seconds that nsys gets after Ctrl-C to write what it has."""


def profile_under_nsys(argv: Sequence[str], run_id: str, folder: Path) -> int:
    """Run ``profile`` again under nsys, correlate, and return the exit code of the run.

    Args:
        argv: The command as it was given, ``profile`` first.
        run_id: Id of the run that it makes.
        folder: Folder that it writes to.

    Raises:
        UsageError: nsys is not installed; the message lists the commands to run where it is.
        OutputError: nsys left no readable capture; what was measured is kept.
    """
    from virnuc_profiler.telemetry.files import stream_json_atomically  # needs NumPy, which --help does not

    report = folder / f"nsys_{run_id}.nsys-rep"
    export = report.with_suffix(".sqlite")
    run_file = folder / f"run_{run_id}.json"
    profile = profile_command(argv, report, folder)
    convert = export_command(report, export)
    nsys = shutil.which("nsys")
    if nsys is None:
        correlate = [*_PYTHON, "correlate", str(run_file), str(export)]
        print("\n".join(shlex.join(command) for command in (profile, convert, correlate)))
        raise UsageError("nsys is not on PATH: install Nsight Systems, or run the commands above where it is")
    require_writable(folder)
    for stale in (report, export, run_file):  # so that files that exist afterwards are of this run
        stale.unlink(missing_ok=True)
    code = _run_to_its_end([nsys, *profile[1:]])
    if not run_file.exists():
        if code == 0:
            raise OutputError(f"nsys ended, but there is no run {run_file}")
        return code  # the run or nsys has printed the reason
    _convert([nsys, *convert[1:]], report, export, folder)
    text, document = correlate_run(run_file, export)
    json_file = folder / f"nsys_{run_id}.json"
    stream_json_atomically(json_file, document())
    print(f"\n{text}")
    print(f"Capture: {shown_path(report)}")
    print(f"Correlation: {shown_path(json_file)}")
    print(f"Results: {shown_path(folder)}")
    return code


def profile_command(argv: Sequence[str], report: Path, folder: Path) -> list[str]:
    """Return the command that captures the measured batches of ``profile`` with these arguments.

    ``--capture-range-end=stop`` ends the capture and lets the program go on to write its results; by default nsys
    would end the program.
    """
    named = any(argument.startswith("--output-dir") for argument in argv)
    there = () if named else ("--output-dir", str(folder))
    return [
        "nsys", "profile", "-t", "cuda,nvtx", "--sample=none", "--cpuctxsw=none",
        "--capture-range=cudaProfilerApi", "--capture-range-end=stop",
        "-o", str(report.with_suffix("")), "--force-overwrite", "true",
        *_PYTHON, *filter(_is_not_nsys, argv), "--capture-range", *there,
    ]  # fmt: skip


def _is_not_nsys(argument: str) -> bool:
    """Return whether an argument is not ``--nsys``, which may be abbreviated."""
    return len(argument) < len("--n") or not "--nsys".startswith(argument)


def export_command(report: Path, export: Path) -> list[str]:
    """Return the command that makes an SQLite file of a report."""
    return ["nsys", "export", "-t", "sqlite", "-o", str(export), "--force-overwrite", "true", str(report)]


def _run_to_its_end(command: Sequence[str]) -> int:
    """Run a command and return its exit code, 1 if a signal ended it; after Ctrl-C it may finish writing."""
    with subprocess.Popen(command) as process:
        try:
            code = process.wait()
            return code if code >= 0 else 1
        except KeyboardInterrupt as stop:
            if str(stop):  # a signal to this process alone, while Ctrl-C reaches the child too
                process.terminate()
            try:
                process.wait(_FINISH_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


def _convert(command: Sequence[str], report: Path, export: Path, folder: Path) -> None:
    if not report.exists():
        raw = report.with_suffix(".qdstrm")
        hint = f"; its raw capture is {raw}, which QdstrmImporter can import" if raw.exists() else ""
        raise OutputError(
            f"nsys left no report {report}: it could not import its capture, or the run did not use a GPU{hint}; "
            f"what was measured is in {folder}"
        )
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0 or not export.exists():
        said = (done.stderr or done.stdout).strip().splitlines()
        raise OutputError(
            f"nsys could not export {report}: {said[-1] if said else f'exit code {done.returncode}'}; "
            f"what was measured is in {folder}"
        )
