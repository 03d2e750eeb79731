# SPDX-License-Identifier: MIT
"""Records of a FASTA file that are not valid: they are named by an error, or left out and listed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from virnuc_profiler._core import FastaIndex
from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.sequences.findings import shown_id
from virnuc_profiler.inference.sequences.foreign_formats import message_in
from virnuc_profiler.inference.sequences.shared_folder import SharedFolder, temporary_space_error
from virnuc_profiler.telemetry.values import printable

FAULTS_IN_MESSAGE: Final = 10
"""Number of records that an error names."""

_FILE: Final = "skipped.tsv"


@dataclass(frozen=True, slots=True)
class SkippedRecord:
    """A record that was left out because it is not valid FASTA.

    Attributes:
        line: Number of the faulty line, counted from 1.
        id: Identifier of the record, shortened; empty if it has none.
        reason: What is wrong.
    """

    line: int
    id: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}{shown_id(self.id)}: {self.reason}"


def require_valid(path: Path, head: bytes, index: FastaIndex, skip_invalid: bool) -> None:
    """Refuse a file with records that are not valid, unless they are to be left out and others remain.

    Args:
        path: The file, for the message.
        head: First bytes of its text.
        index: Index of its text.
        skip_invalid: Whether such records are left out.

    Raises:
        WorkloadError: The file is refused; the message names the first faulty records, and how many there are.
    """
    if index.fault_count == 0 or (skip_invalid and len(index)):
        return
    message = message_in(head)
    if message is not None:
        raise WorkloadError(f"cannot read {path}: it begins with an error message, not with FASTA: {message}")
    count = min(index.described_faults, FAULTS_IN_MESSAGE)
    records = "; ".join(str(SkippedRecord(*index.fault(i))) for i in range(count))
    if index.fault_count > 1:
        more = index.fault_count - count
        records += f"{f'; and {more:,} more' if more else ''} ({index.fault_count:,} invalid records in all)"
    if len(index):
        records += "; skip_invalid (--skip-invalid) leaves out invalid records"
    raise WorkloadError(f"{path}, {records}")


def save_skipped(index: FastaIndex, folder: SharedFolder) -> None:
    """Write the faulty records of an index to a folder.

    Args:
        index: Index that describes them.
        folder: Folder of the index.

    Raises:
        OutputError: The file cannot be written.
    """
    if index.described_faults == 0:
        return
    try:
        with (folder.path / _FILE).open("w", encoding="utf-8", newline="\n") as file:
            for i in range(index.described_faults):
                line, name, reason = index.fault(i)
                file.write(f"{line}\t{printable(name)}\t{reason}\n")  # an identifier may hold any other character
    except OSError as error:
        raise temporary_space_error(error) from None


def read_skipped(folder: Path) -> Iterator[SkippedRecord]:
    """Yield the records that :func:`save_skipped` wrote, in the order of the file."""
    with (folder / _FILE).open(encoding="utf-8", newline="\n") as file:
        for row in file:
            line, name, reason = row.rstrip("\n").split("\t")
            yield SkippedRecord(int(line), name, reason)
