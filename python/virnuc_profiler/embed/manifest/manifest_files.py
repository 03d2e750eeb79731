# SPDX-License-Identifier: MIT
"""The manifests of a job: one file of checked lines for each rank, so that no two processes write into one file."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from virnuc_profiler.embed.job_folder import sync_folder
from virnuc_profiler.embed.manifest.shard_record import Retraction, ShardRecord
from virnuc_profiler.errors import OutputError, TelemetryFormatError
from virnuc_profiler.telemetry.checked_lines import decode_lines, encode_line

MANIFEST_FOLDER: Final = "manifest"

_log = logging.getLogger(__name__)


def read_manifests(folder: Path) -> dict[int, ShardRecord]:
    """Return the records of all finished shards of a job, by number. Takes no lock and writes nothing.

    A line that is damaged or not whole is left out, so its shard is done again; so is one that was retracted. If two
    ranks have finished the same shard, as after a lost lease, the later record is taken.

    Args:
        folder: Folder of the job.

    Raises:
        OutputError: A manifest cannot be read.
    """
    lines = [line for path in sorted((folder / MANIFEST_FOLDER).glob("rank_*.jsonl")) for line in _read(path)]
    retracted = {line.key for line in lines if isinstance(line, Retraction)}
    records = (line for line in lines if isinstance(line, ShardRecord) and line.key not in retracted)
    return {record.shard: record for record in sorted(records, key=lambda record: record.finished_at)}


def _read(path: Path) -> list[ShardRecord | Retraction]:
    try:
        lines = decode_lines(path.read_bytes())
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}") from error
    found = [record for number, entry in lines.entries if (record := _record(path, number, entry)) is not None]
    if lines.damaged:
        numbers = ", ".join(map(str, lines.damaged[:5]))
        _log.warning("%s: damaged lines are not used, and their shards are done again: %s", path, numbers)
    return found


def _record(path: Path, number: int, entry: Any) -> ShardRecord | Retraction | None:
    try:
        return Retraction.from_json(entry) if Retraction.is_one(entry) else ShardRecord.from_json(entry)
    except TelemetryFormatError as error:
        _log.warning("%s: line %d is not used: %s", path, number, error)
        return None


class Manifest:
    """The manifest of one rank, open for writing.

    Args:
        folder: Folder of the job.
        rank: Name of the rank, such as ``0``.

    Raises:
        OutputError: It cannot be written.
    """

    def __init__(self, folder: Path, rank: str) -> None:
        self.path = folder / MANIFEST_FOLDER / f"rank_{rank}.jsonl"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._length = self.path.read_bytes().rfind(b"\n") + 1
            os.ftruncate(self._descriptor, self._length)  # a torn last line of a killed process
            os.fsync(self._descriptor)
            sync_folder(self.path.parent)  # without it, a power cut may lose a new file that is synced itself
            sync_folder(folder)
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error

    def add(self, record: ShardRecord | Retraction) -> None:
        """Add the line of a finished shard, which is on the disk when this returns.

        Args:
            record: Record of the shard, whose files are on the disk; or the retraction of an earlier record.

        Raises:
            OutputError: The line cannot be written; the lines before it stay readable.
        """
        line = encode_line(record.to_json())
        try:
            if os.write(self._descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._length)
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error
        self._length += len(line)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
