# SPDX-License-Identifier: MIT
"""One command at a time in a folder of results."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import platform
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from virnuc_profiler.errors import OutputError
from virnuc_profiler.sweep.results.result_files import now

LOCK_FILE: Final = "journal.lock"
MOUNTS: Final = Path("/proc/self/mountinfo")

_HELD_BY_ANOTHER: Final = (errno.EWOULDBLOCK, errno.EACCES)
_NO_LOCKS: Final = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_SHARED_BY_HOSTS: Final = ("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "afs", "glusterfs", "fuse", "9p")

_log = logging.getLogger(__name__)


class FolderLock:
    """Lock of a folder, held from its creation until it is closed.

    Python's descriptors are not inherited by the programs that a process starts, so worker processes do not keep it.

    Args:
        folder: Folder to lock.
        command: Command that holds it, for the messages of others.
        name: Name of the file that is locked in the folder.
        warn: Whether to warn where the lock may not keep other hosts out.

    Raises:
        OutputError: Another command holds it (the message names process, host and time), or the file cannot be written.
    """

    def __init__(self, folder: Path, command: str = "sweep", name: str = LOCK_FILE, *, warn: bool = True) -> None:
        path = folder / name
        try:
            self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        try:
            _lock(self._descriptor, folder, warn)
            self._write_holder(path, command)
        except BaseException:
            os.close(self._descriptor)
            raise

    def close(self) -> None:
        """Unlock the folder."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
            os.close(descriptor)

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_holder(self, path: Path, command: str) -> None:
        assert self._descriptor is not None
        holder = {"pid": os.getpid(), "host": platform.node(), "since": now(), "command": command}
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(holder).encode() + b"\n", 0)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _lock(descriptor: int, folder: Path, warn: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD_BY_ANOTHER:
            raise OutputError(
                f"{folder} is in use by {_holder(descriptor)}; wait until it ends, or choose another --output-dir"
            ) from None
        if error.errno not in _NO_LOCKS:
            raise OutputError(f"cannot lock {folder}: {error.strerror or error}") from error
        _log.log(
            logging.WARNING if warn else logging.DEBUG,
            "%s cannot be locked (%s): nothing keeps a second command out, so do not start one there",
            folder,
            error.strerror or error,
        )
        return
    kind = filesystem_of(folder)
    if warn and kind is not None and kind.startswith(_SHARED_BY_HOSTS):
        _log.warning(
            "%s lies on a file system that several hosts may share (%s), where locks may hold on one host only: "
            "do not start a second command there from another host",
            folder,
            kind,
        )


def _holder(descriptor: int) -> str:
    try:
        holder: Any = json.loads(os.pread(descriptor, 4096, 0))
        process = f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
        return f"another {holder.get('command', 'sweep')}: {process}"
    except (OSError, ValueError, TypeError, KeyError):  # it has locked the folder just now
        return "another command: a process that has not written its name yet"


def filesystem_of(folder: Path) -> str | None:
    """Return the type of the file system that `folder` lies on, such as ``ext4`` or ``nfs4``; None if unknown."""
    try:
        device = folder.stat().st_dev
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:  # e.g. "36 35 98:0 /root /mounted/here rw,noatime master:1 - ext4 /dev/sda1 rw"
        parts = line.split()
        if len(parts) > 2 and parts[2] == number and "-" in parts[6:-1]:
            return parts[parts.index("-", 6) + 1]
    return None
