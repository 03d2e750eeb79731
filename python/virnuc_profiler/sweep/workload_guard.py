# SPDX-License-Identifier: MIT
"""Notices that the file of sequences was changed while a sweep runs."""

from __future__ import annotations

from pathlib import Path

from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.sweep.workload import Workload

Signature = tuple[int, ...]


class WorkloadGuard:
    """Checks workloads; costs one ``stat`` a time, and a reading of the file only where that shows a change.

    The first check of a file reads it: what it looked like when the workload was described is not known.
    """

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[str, Signature]] = {}

    def __call__(self, workload: Workload) -> None:
        """Checks one.

        Raises:
            WorkloadError: its file is gone, or holds other bytes than it did.
        """
        now = _signature(workload.path)  # before the reading, so that a change during it is seen next time
        if self._seen.get(workload.path) == (workload.fingerprint, now):
            return
        require_fingerprint(workload.path, workload.fingerprint)
        self._seen[workload.path] = workload.fingerprint, now


def require_fingerprint(path: Path, fingerprint: str) -> None:
    """Refuses a file that does not have this fingerprint.

    Raises:
        WorkloadError: it has another one, or is gone.
    """
    from virnuc_profiler.inference.fasta import fingerprint_of  # needs the compiled core, which --help does not

    found = fingerprint_of(path)
    if found != fingerprint:
        raise WorkloadError(
            f"{path} was changed, truncated or replaced since the sweep began: it was {_short(fingerprint)} and is "
            f"now {_short(found)}"
        )


def _signature(path: Path) -> Signature:
    try:
        status = path.stat()
    except OSError as error:
        raise WorkloadError(f"cannot read {path}: {error.strerror or error}") from None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _short(fingerprint: str) -> str:
    return fingerprint[: len("sha256:") + 12]
