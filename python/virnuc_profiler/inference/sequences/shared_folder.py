# SPDX-License-Identifier: MIT
"""A private temporary folder for what workers memory-map by path instead of receiving it through a pipe."""

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
    """A folder that only this user can read; it goes with its owner, at the latest with this process.

    A process that was killed leaves its folders behind. The next one to make a folder removes them: each
    owner holds a lock in its folder, which the kernel lets go when the owner dies.

    What is memory-mapped when a folder goes stays readable: a mapping outlives its file's name.

    Raises:
        OutputError: the folder, or a file in it, cannot be written.
    """

    def __init__(self) -> None:
        try:
            _remove_abandoned(Path(tempfile.gettempdir()))
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            lock = _lock_as_owner(self.path)
        except OSError as error:
            raise temporary_space_error(error) from None
        self._finalizer = weakref.finalize(self, _remove, self.path, lock, os.getpid())

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


def temporary_space_error(error: OSError) -> OutputError:
    """What to tell a user whose temporary folder is full or cannot be written."""
    try:
        folder = tempfile.gettempdir()
    except OSError:  # there is none at all
        folder = os.environ.get("TMPDIR", "/tmp")  # noqa: S108  only to name it
    reason = error.strerror or str(error)
    return OutputError(
        f"cannot write to the temporary folder {folder}: {reason}; "
        "free space there, or name another one in the environment variable TMPDIR"
    )


def _lock_as_owner(folder: Path) -> IO[str]:
    # It gets its name when it is locked, so that nobody can find it without its owner.
    lock = (folder / "new.lock").open("w")
    with suppress(OSError):  # a file system without locks: then nobody will tidy up after us
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / "new.lock").rename(folder / _LOCK_NAME)
    return lock


def _remove_abandoned(parent: Path) -> None:
    for lock_path in parent.glob(f"{_PREFIX}*/{_LOCK_NAME}"):
        with (
            suppress(OSError),
            lock_path.open("r+") as lock,
        ):  # another user's, or one that still has its owner
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock_path.parent, ignore_errors=True)


def _remove(path: Path, lock: IO[str], owner_pid: int) -> None:
    # A forked child inherits the finalizer, but not the folder.
    if os.getpid() == owner_pid:
        shutil.rmtree(path, ignore_errors=True)
        lock.close()
