# SPDX-License-Identifier: MIT
"""A private temporary folder for data that workers memory-map by path instead of receiving it through a pipe."""

import fcntl
import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.errors import OutputError

_PREFIX = "virnuc_profiler-"
_LOCK_NAME = "owner.lock"


class SharedFolder:
    """A folder that only this user can read, removed with its owner and at the latest when this process ends.

    A killed process leaves its folders behind, and the next process that makes a folder removes them: each owner holds
    a lock in its folder, which the kernel releases when the owner dies.

    Mapped files stay readable after the folder is removed, because a mapping outlives its file's name.

    Attributes:
        path: Path of the folder.

    Raises:
        OutputError: The folder cannot be written.
    """

    def __init__(self) -> None:
        try:
            _remove_orphaned(Path(tempfile.gettempdir()))
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            lock = _lock_as_owner(self.path)
        except OSError as error:
            raise temporary_space_error(error) from None
        self._finalizer = weakref.finalize(self, _remove, self.path, lock, os.getpid())

    def save_array(self, name: str, array: NDArray[np.int64]) -> Path:
        """Write an array that ``np.load(path, mmap_mode="r")`` can map; return its path.

        Args:
            name: Name of the file, without its suffix.
            array: Array to write.

        Raises:
            OutputError: The file cannot be written.
        """
        path = self.path / f"{name}.npy"
        try:
            with path.open("wb") as file:
                np.save(file, array)
        except OSError as error:
            raise temporary_space_error(error) from None
        return path

    def remove(self) -> None:
        """Remove the folder now."""
        self._finalizer()


def temporary_space_error(error: OSError) -> OutputError:
    """Return the error that tells a user that the temporary folder is full or not writable."""
    try:
        folder = tempfile.gettempdir()
    except OSError:  # no folder is usable
        folder = os.environ.get("TMPDIR", "/tmp")  # noqa: S108  for the message only
    reason = error.strerror or str(error)
    return OutputError(
        f"cannot write to the temporary folder {folder}: {reason}; "
        "free space there, or name another one in the environment variable TMPDIR"
    )


def _lock_as_owner(folder: Path) -> IO[str]:
    # Rename the lock only after locking it, so that no other process finds it unlocked.
    lock = (folder / "new.lock").open("w")
    with suppress(OSError):  # without file locks, no other process will remove the folder
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / "new.lock").rename(folder / _LOCK_NAME)
    return lock


def _remove_orphaned(parent: Path) -> None:
    for lock_path in parent.glob(f"{_PREFIX}*/{_LOCK_NAME}"):
        with (
            suppress(OSError),
            lock_path.open("r+") as lock,
        ):  # ignore folders of other users and of living processes
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock_path.parent, ignore_errors=True)


def _remove(path: Path, lock: IO[str], owner_pid: int) -> None:
    # A forked child inherits the finalizer, but does not own the folder.
    if os.getpid() == owner_pid:
        shutil.rmtree(path, ignore_errors=True)
        lock.close()
