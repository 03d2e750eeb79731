# SPDX-License-Identifier: MIT
"""The journal of a folder: the file that records what was measured, whatever happens to the process that measures.

Each line is on the disk before the next trial begins. A killed process leaves at most one torn line at the end, which
is dropped with a warning and cut off by the next process that writes. A damaged line elsewhere does not come from a
crash; it is skipped with a warning, and because lines are independent, only its own trial is measured again. A damaged
line that begins a sweep takes the trials of that sweep with it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from virnuc_profiler.errors import OutputError, TelemetryFormatError
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.results.folder_lock import FolderLock
from virnuc_profiler.sweep.results.result_files import now
from virnuc_profiler.sweep.results.sweep_record import (
    SweepPlan,
    SweepRecord,
    Trial,
    add_entry,
    conditions_entry,
    conditions_key,
    read_entries,
    sweep_entry,
    trial_entry,
)
from virnuc_profiler.telemetry.checked_lines import decode_lines, encode_line
from virnuc_profiler.telemetry.files import MAX_BYTES
from virnuc_profiler.telemetry.number_text import counted

JOURNAL_FILE: Final = "journal.jsonl"

_log = logging.getLogger(__name__)


def read_journal(folder: Path) -> list[SweepRecord]:
    """Return the sweeps of a folder in their order, none if it has no journal. Takes no lock and writes nothing.

    Raises:
        TelemetryFormatError: The journal cannot be read, or has another major version.
    """
    path = folder / JOURNAL_FILE
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise TelemetryFormatError(
                f"{path} has {size:,} bytes, more than a journal can have; choose another folder"
            )
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise TelemetryFormatError(f"cannot read {path}: {error.strerror or error}") from error
    lines = decode_lines(data)
    records, orphans = read_entries(lines.entries, path)
    if lines.damaged:
        _log.warning("%s: %s damaged and not used; what was measured there is missing", path, _lines(lines.damaged))
    if orphans:
        _log.warning("%s: %s not used: the line that it belongs to is damaged", path, _lines(orphans))
    if lines.torn_bytes:
        _log.warning("%s: the last line is not whole, and is not used: its writer was stopped, or still writes", path)
    return records


class Journal:
    """A folder's journal, open for writing and locked.

    Args:
        folder: The folder, which must exist.

    Attributes:
        path: Path of the journal.
        records: Sweeps of the folder, including those that were begun through this object.

    Raises:
        OutputError: Another sweep uses the folder, or the journal cannot be written.
        TelemetryFormatError: The folder has a journal of another major version.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL_FILE
        self._lock = FolderLock(folder)
        self._descriptor: int | None = None
        try:
            self.records = read_journal(folder)
            self._open()
        except BaseException:
            self.close()
            raise

    @property
    def current(self) -> SweepRecord:
        """The sweep that was begun last.

        Raises:
            ValueError: There is none.
        """
        if not self.records:
            raise ValueError(f"{self.path} holds no sweep so far; begin() one")
        return self.records[-1]

    def begin(self, plan: SweepPlan) -> SweepRecord:
        """Begin a sweep and return it.

        Args:
            plan: Plan of the sweep.

        Raises:
            OutputError: The journal cannot be written.
        """
        self._append(sweep_entry(secrets.token_hex(6), plan, now()))
        return self.current

    def note(self, conditions: Conditions) -> None:
        """Record the conditions of the trials to come, unless they are those of the trials before.

        Args:
            conditions: Conditions of the trials to come.

        Raises:
            OutputError: The journal cannot be written.
        """
        if next(reversed(self.current.conditions), None) != conditions_key(conditions):
            self._append(conditions_entry(self.current.key, conditions))

    def add(self, trial: Trial) -> None:
        """Add a trial of the current sweep, which is on the disk when this returns.

        Args:
            trial: The trial.

        Raises:
            OutputError: The journal cannot be written; what was in it stays readable.
            ValueError: The result holds NaN or infinity.
        """
        self._append(trial_entry(self.current.key, trial))

    def close(self) -> None:
        """Close the file, and unlock the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._lock.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._length = _whole_lines(self.path)
            if self._length != os.fstat(self._descriptor).st_size:
                os.ftruncate(self._descriptor, self._length)
            os.fsync(self._descriptor)
            _sync_folder(
                self.path.parent
            )  # without it, a new file may be lost in a power cut although the file itself is synced
        except OSError as error:
            raise self._unwritable(error) from error

    def _append(self, entry: dict[str, Any]) -> None:
        line = encode_line(entry)
        assert self._descriptor is not None, "the journal is closed"
        if not _is_at(self._descriptor, self.path):
            raise OutputError(f"{self.path} was removed or moved while the sweep ran, so results cannot be recorded")
        try:
            _write_all(self._descriptor, line)
            os.fsync(self._descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):  # a torn line is harmless, since it is cut off next time
                os.ftruncate(self._descriptor, self._length)
            raise self._unwritable(error) from error
        self._length += len(line)
        records = {record.key: record for record in self.records}
        add_entry(records, json.loads(json.dumps(entry)))  # as later readers will see it
        self.records = list(records.values())

    def _unwritable(self, error: OSError) -> OutputError:
        count = sum(len(record.trials) for record in self.records)
        trials = counted(count, "finished trial stays", "finished trials stay")
        kept = f"; its {trials} readable, and --resume continues once it can be written"
        return OutputError(f"cannot write {self.path}: {error.strerror or error}{kept if count else ''}")


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
    except OSError:  # e.g. a permission was revoked: writing will say what is wrong
        return True


def _whole_lines(path: Path) -> int:
    """Return the number of bytes up to the last newline of a file."""
    return path.read_bytes().rfind(b"\n") + 1


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems sync no folders
            raise
    finally:
        os.close(descriptor)


def _lines(numbers: Any) -> str:
    shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"line{'s' if len(numbers) > 1 else ''} {shown} {'are' if len(numbers) > 1 else 'is'}"
