# SPDX-License-Identifier: MIT
"""A private temporary folder for what workers memory-map by path instead of receiving it through a pipe."""

import os
import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.errors import WorkloadError


class SharedFolder:
    """A folder that only this user can read; it goes with its owner, at the latest with this process.

    What is memory-mapped by then stays readable: a mapping outlives its file's name.

    Raises:
        WorkloadError: the folder, or a file in it, cannot be written.
    """

    def __init__(self) -> None:
        try:
            self.path = Path(tempfile.mkdtemp(prefix="virnuc_profiler-"))
        except OSError as error:
            raise temporary_space_error(error) from None
        self._finalizer = weakref.finalize(self, _remove, self.path, os.getpid())

    def save_array(self, name: str, array: NDArray[np.int64]) -> Path:
        """Writes `array` so that ``np.load(path, mmap_mode="r")`` maps it."""
        path = self.path / f"{name}.npy"
        try:
            with path.open("wb") as file:
                np.save(file, array)
        except OSError as error:
            raise temporary_space_error(error) from None
        return path

    def remove(self) -> None:
        """Removes the folder now."""
        self._finalizer()


def temporary_space_error(error: OSError) -> WorkloadError:
    """What to tell a user whose temporary folder is full or cannot be written."""
    reason = error.strerror or str(error)
    return WorkloadError(
        f"cannot write to the temporary folder {tempfile.gettempdir()}: {reason}; "
        "free space there, or name another one in the environment variable TMPDIR"
    )


def _remove(path: Path, owner_pid: int) -> None:
    # A forked child inherits the finalizer, but not the folder.
    if os.getpid() == owner_pid:
        shutil.rmtree(path, ignore_errors=True)
