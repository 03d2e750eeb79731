# SPDX-License-Identifier: MIT
"""Read a file that must stay as it was: a change is an exception, not wrong bytes and not a bus error.

Files are read instead of mapped, because touching a mapped page beyond the end of a truncated file kills the process.
"""

import hashlib
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler._core import read_file_ranges
from virnuc_profiler.errors import WorkloadError

BLOCK_BYTES: Final = 1 << 18
"""Bytes that are read at once: the block stays in the second-level cache until it has been used."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What tells a file from another one, and from itself after a change.

    Attributes:
        device: Device that holds the file.
        inode: Number of the file on its device.
        size: Size in bytes.
        modified_ns: Time of the last modification, in ns.
    """

    device: int
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, file: int | Path) -> "FileIdentity":
        """Return the identity of an open file or a path.

        Raises:
            OSError: It cannot be read.
        """
        status = os.stat(file)  # noqa: PTH116  of an open file too
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class UnchangedFile:
    """An open file that is checked against its identity with each read.

    A file with another identity is accepted if it has the same bytes, as after a copy or ``touch``, provided that their
    fingerprint is known.

    Args:
        path: Path to open.
        identity: Identity that the file must have.
        fingerprint: Fingerprint of the bytes that it must have; None if it is not known.
        name: Path for messages, if the user knows the file under another one.

    Raises:
        WorkloadError: The file cannot be read, or was changed.
    """

    def __init__(
        self, path: Path, identity: FileIdentity, fingerprint: str | None = None, *, name: Path | None = None
    ) -> None:
        self._name = name or path
        self._identity = identity
        self._fingerprint = fingerprint
        with readable(self._name):
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        self.require_unchanged()

    def read_ranges(
        self, starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
        """Read ranges, neighboring ones at once. Two ranges must be the same or not overlap.

        Args:
            starts: (n,) offset of the first byte of each range, in any order.
            ends: (n,) offset after the last byte of each range.

        Returns:
            Bytes that contain all ranges, and start and end of each range in them.

        Raises:
            WorkloadError: The file cannot be read, or was changed.
        """
        try:
            text, text_starts = read_file_ranges(self._descriptor, starts, ends)
        except EOFError:
            raise changed_error(self._name, self._identity, FileIdentity.of(self._descriptor)) from None
        except OSError as error:
            raise unreadable(self._name, error) from None
        self.require_unchanged()
        return text, text_starts, text_starts + (ends - starts)

    def fingerprint(self) -> str:
        """Return ``sha256:`` and the digest of the bytes.

        Raises:
            WorkloadError: The file cannot be read, or was changed.
        """
        found = fingerprint_of(self._descriptor, self._name)
        self.require_unchanged()
        return found

    def require_unchanged(self) -> None:
        """Check that the open file is what it was; this costs a system call.

        Raises:
            WorkloadError: The file was changed.
        """
        with readable(self._name):
            now = FileIdentity.of(self._descriptor)
        if now == self._identity:
            return
        may_be_equal = self._fingerprint is not None and now.size == self._identity.size
        if not may_be_equal or fingerprint_of(self._descriptor, self._name) != self._fingerprint:
            raise changed_error(self._name, self._identity, now)
        self._identity = now  # taken before the reading, so that a change during it is noticed next time


def changed_error(path: Path, then: FileIdentity, now: FileIdentity) -> WorkloadError:
    """Return the error that says how a file was changed while it was in use.

    Args:
        path: The file as it was named.
        then: Identity before.
        now: Identity after.
    """
    if (now.device, now.inode) != (then.device, then.inode):
        how = "replaced by another file while it was in use"
    elif now.size < then.size:
        how = f"truncated while it was in use: it had {then.size:,} bytes when it was indexed and has {now.size:,} now"
    elif now.size > then.size:
        how = f"changed while it was in use: it had {then.size:,} bytes when it was indexed and has {now.size:,} now"
    else:
        how = "changed while it was in use: it has the same size, but was written since it was indexed"
    return WorkloadError(f"{path} was {how}; start again with a file that stays as it is")


def fingerprint_of(file: int | Path, name: Path | None = None) -> str:
    """Return ``sha256:`` and the digest of a file's bytes.

    Args:
        file: An open file, which is read without moving its position, or a path.
        name: Path of an open file, for messages.

    Raises:
        WorkloadError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with readable(name or Path(str(file))):
        descriptor = file if isinstance(file, int) else os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            place = 0
            while block := os.pread(descriptor, BLOCK_BYTES, place):
                digest.update(block)
                place += len(block)
        finally:
            if descriptor is not file:
                os.close(descriptor)
    return f"sha256:{digest.hexdigest()}"


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn an operating system's error within the block into one that names the file.

    Raises:
        WorkloadError: The file cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> WorkloadError:
    """Return the error that says why a file cannot be read."""
    return WorkloadError(f"cannot read {path}: {error.strerror or error}")
