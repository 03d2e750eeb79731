# SPDX-License-Identifier: MIT
"""The folder of results: one command at a time writes into it, and no earlier result is lost."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from virnuc_profiler.cli.options.measurement_request import require_writable, shown_path
from virnuc_profiler.errors import UsageError
from virnuc_profiler.sweep.plan.steps import BEST_CONFIG_FILE, STEPS

_RESULTS: Final = ("telemetry_*.json", "run_*.json", "journal.*", BEST_CONFIG_FILE, *(step.file_name for step in STEPS))
"""Names of files that a measurement writes."""


def claim_folder(folder: Path, *, named: bool) -> Path:
    """Make the folder of the results and check that it can be written, before time is spent on them.

    Args:
        folder: The folder.
        named: Whether the user named it. Otherwise it gets a number if it exists: another command that was started in
            the same second has chosen the same name.

    Returns:
        The folder that was made.

    Raises:
        OutputError: The folder cannot be made or written.
    """
    claimed, number = folder, 1
    while not named:
        try:
            claimed.mkdir(parents=True)
            break
        except FileExistsError:
            number += 1
            claimed = folder.with_name(f"{folder.name}_{number}")
        except OSError:  # require_writable says what is wrong
            break
    require_writable(claimed)
    return claimed


def keep_earlier(paths: Iterable[Path]) -> None:
    """Rename the files of an earlier run of the same name, and say so.

    Args:
        paths: Files that are about to be written.

    Raises:
        OutputError: A file cannot be renamed.
    """
    from virnuc_profiler.telemetry.files import move_aside  # needs NumPy, which --help does not

    for path in paths:
        kept = move_aside(path, "earlier")
        if kept is not None:
            print(f"Kept: {shown_path(path)} of an earlier run is now {shown_path(kept.name)}")


def refuse_result(path: Path, option: str) -> None:
    """Refuse to write a report over a result of a measurement, which could not be made again.

    Args:
        path: File that a report is to be written to.
        option: Option that names it, for the message.

    Raises:
        UsageError: It is an existing file with the name of a result.
    """
    if path.is_file() and any(fnmatch.fnmatch(path.name, pattern) for pattern in _RESULTS):
        raise UsageError(f"{option} {path} exists and has the name of a measurement's result; choose another file")
