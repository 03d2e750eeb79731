# SPDX-License-Identifier: MIT
"""What foreign code prints, kept in a file, so that it does not disturb what this program prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import IO, Final

from virnuc_profiler.errors import OutputError, folder_problem

TARGET_OUTPUT: Final = "target_output.log"
"""File in the folder of the results with what a target printed while it was made."""

_STDOUT: Final = 1


def output_path(folder: Path, run_id: str) -> Path:
    """Return the file beside the telemetry of a run with what a target printed meanwhile.

    Args:
        folder: Folder of the telemetry file.
        run_id: Name of the run.
    """
    return folder / f"output_{run_id}.log"


@contextmanager
def captured_output(path: Path) -> Iterator[None]:
    """Send standard output to a file while the block runs, that of compiled code and of child processes too.

    Standard error stays as it is, because progress and warnings are shown on it. There is no file if nothing was
    printed.

    Args:
        path: File to write; one that exists is replaced.

    Raises:
        OutputError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8", errors="replace", buffering=1)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {folder_problem(error)}") from error
    try:
        with file, _redirected(file):
            yield
    finally:
        with suppress(OSError):
            if path.stat().st_size == 0:
                path.unlink()


@contextmanager
def _redirected(file: IO[str]) -> Iterator[None]:
    _flush()
    terminal = _duplicate_stdout()
    if terminal is not None:
        os.dup2(file.fileno(), _STDOUT)
    try:
        with redirect_stdout(file):
            yield
    finally:
        file.flush()
        if terminal is not None:
            _flush()
            os.dup2(terminal, _STDOUT)
            os.close(terminal)


def _duplicate_stdout() -> int | None:
    """Return another descriptor of standard output; None if it is closed."""
    with suppress(OSError):
        return os.dup(_STDOUT)
    return None


def _flush() -> None:
    with suppress(OSError, ValueError):  # closed, or a pipe without a reader
        sys.stdout.flush()
