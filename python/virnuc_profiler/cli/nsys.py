# SPDX-License-Identifier: MIT
"""``profile --nsys``: run the same command under Nsight Systems, and show its capture beside the run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from virnuc_profiler.cli.correlate import correlate_files
from virnuc_profiler.cli.options.measurement_request import shown_path
from virnuc_profiler.cli.options.result_folder import claim_folder, keep_earlier
from virnuc_profiler.cli.terminal import command_line
from virnuc_profiler.errors import OutputError, UsageError

_PYTHON: Final = (sys.executable, "-m", "virnuc_profiler")
_FINISH_S: Final = 120.0
"""Seconds that nsys gets after Ctrl-C to write what it has."""
_LOCK: Final = "nsys.lock"
"""A lock beside the folder's own, which the profiled process holds."""


def profile_under_nsys(argv: Sequence[str], run_id: str, folder: Path, *, named: bool) -> int:
    """Run ``profile`` again under nsys, correlate, and return the exit code of the run.

    Args:
        argv: The command as it was given, ``profile`` first.
        run_id: Id of the run that it makes.
        folder: Folder that it writes to.
        named: Whether the user named the folder.

    Raises:
        UsageError: nsys is not installed; the message lists the commands to run where it is.
        OutputError: The folder is in use, or nsys left no readable capture; what was measured is kept.
    """
    from virnuc_profiler.sweep.results.folder_lock import FolderLock

    nsys = shutil.which("nsys")
    if nsys is None:
        files = _Files.of(folder, run_id)
        commands = (profile_command(argv, files.report, folder), export_command(files.report, files.export))
        correlate = [*_PYTHON, "correlate", str(files.run), str(files.export)]
        print("\n".join(map(command_line, (*commands, correlate))))
        raise UsageError("nsys is not on PATH: install Nsight Systems, or run the commands above where it is")
    folder = claim_folder(folder, named=named)
    files = _Files.of(folder, run_id)
    with FolderLock(folder, "profile --nsys", _LOCK):
        with FolderLock(folder, "profile --nsys"):  # no other command is writing these files
            keep_earlier(files)
        return _capture(nsys, argv, files, folder)


class _Files(NamedTuple):
    """The files of a captured run. Those that exist after nsys has ended are of this run, because none did before."""

    run: Path
    telemetry: Path
    report: Path
    export: Path
    correlation: Path

    @classmethod
    def of(cls, folder: Path, run_id: str) -> _Files:
        from virnuc_profiler.sweep.results.result_files import trial_paths

        telemetry, run = trial_paths(folder, run_id)
        captured = (folder / f"nsys_{run_id}.{kind}" for kind in ("nsys-rep", "sqlite", "json"))
        return cls(run, telemetry, *captured)


def _capture(nsys: str, argv: Sequence[str], files: _Files, folder: Path) -> int:
    profile = profile_command(argv, files.report, folder)
    code = _run_to_its_end([nsys, *profile[1:]])
    if not files.run.exists():
        if code == 0:
            raise OutputError(f"nsys ended, but there is no run {files.run}")
        return code  # the run or nsys has printed the reason
    convert = export_command(files.report, files.export)
    _convert([nsys, *convert[1:]], files.report, files.export, folder)
    correlated, text = correlate_files(files.run, files.export)
    correlated.save(files.correlation)
    print(f"\n{text}")
    print(f"Capture: {shown_path(files.report)}")
    print(f"Correlation: {shown_path(files.correlation)}")
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
