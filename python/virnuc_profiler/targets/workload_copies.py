# SPDX-License-Identifier: MIT
"""Files that hold the sequences of a workload and no others, for programs that read files by themselves."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.inference.sequences.shared_folder import SharedFolder, temporary_space_error
from virnuc_profiler.targets.target_workload import TargetWorkload

if TYPE_CHECKING:
    from virnuc_profiler.inference.sequences.fasta import FastaFile

_SEQUENCES_AT_ONCE: Final = 10_000
_MAX_FILES: Final = 4
"""Files to keep: those of the sweep's workload and of the validation's, and the warm-up's."""
_COMMENTS: Final = (b";", b"#", b"//")


class WorkloadCopies:
    """Writes sequences of FASTA files into files of their own, in a temporary folder.

    The folder is removed with this object. One that a killed process leaves behind is removed by the next process.
    """

    def __init__(self) -> None:
        self._folder = SharedFolder()
        self._files: dict[Hashable, TargetWorkload] = {}
        self._written = 0

    def of(
        self, key: Hashable, fasta: FastaFile, positions: NDArray[np.int64], passes: int, max_residues: int
    ) -> TargetWorkload:
        """Return the file of a workload, which is written when it is first asked for.

        Residues are upper case, without white space and comments. Identifiers are distinct: the second ``A``, which is
        also that of the second pass, is ``A#2``.

        Args:
            key: What distinguishes these positions from others.
            fasta: Open file of the sequences.
            positions: (n,) positions of the sequences, in the order in which they are written.
            passes: How often all of them are written, one copy after the other.
            max_residues: Residues to which longer sequences are cut.

        Raises:
            OutputError: The temporary folder cannot be written.
            WorkloadError: The sequences cannot be read.
        """
        name = (key, passes)
        if name not in self._files:
            while len(self._files) >= _MAX_FILES:
                self._files.pop(next(iter(self._files))).path.unlink(missing_ok=True)
            self._files[name] = self._write(fasta, positions, passes, max_residues)
        return self._files[name]

    def close(self) -> None:
        """Remove the files."""
        self._files.clear()
        self._folder.remove()

    def _write(self, fasta: FastaFile, positions: NDArray[np.int64], passes: int, max_residues: int) -> TargetWorkload:
        self._written += 1
        path = self._folder.path / f"workload_{self._written}.fasta"
        names = _DistinctNames(_identifiers(fasta, positions))
        residues = truncated = 0
        try:
            with path.open("w", encoding="ascii", errors="replace") as file:
                for _ in range(passes):
                    for identifier, whole in _records(fasta, positions):
                        sequence = whole[:max_residues]
                        file.write(f">{names.next(identifier)}\n{sequence}\n")
                        residues += len(sequence)
                        truncated += len(sequence) < len(whole)
        except OSError as error:
            raise temporary_space_error(error) from None
        sequences = passes * len(positions)
        tokens = residues + 2 * sequences
        return TargetWorkload(path, sequences, tokens, max_residues, passes, truncated // passes)


class _DistinctNames:
    """Gives each record a name of its own.

    Args:
        identifiers: Identifiers of all records, as their file has them.
    """

    def __init__(self, identifiers: Iterable[str]) -> None:
        self._taken = {identifier for identifier in identifiers if "#" in identifier}
        self._numbers: dict[str, int] = {}

    def next(self, identifier: str) -> str:
        """Return the identifier itself at first, and then with a number that no record of the file has."""
        number = self._numbers.get(identifier, 0) + 1
        while number > 1 and f"{identifier}#{number}" in self._taken:
            number += 1
        self._numbers[identifier] = number
        return identifier if number == 1 else f"{identifier}#{number}"


def _blocks(positions: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(positions), _SEQUENCES_AT_ONCE):
        yield positions[first : first + _SEQUENCES_AT_ONCE]


def _identifiers(fasta: FastaFile, positions: NDArray[np.int64]) -> Iterator[str]:
    for block in _blocks(positions):
        yield from fasta.sequence_ids(block)


def _records(fasta: FastaFile, positions: NDArray[np.int64]) -> Iterator[tuple[str, str]]:
    for block in _blocks(positions):
        text, starts, ends = fasta.read_sequences(block)
        data = text.data
        for identifier, start, end in zip(fasta.sequence_ids(block), starts.tolist(), ends.tolist(), strict=True):
            yield identifier, _residues(bytes(data[start:end]))


def _residues(lines: bytes) -> str:
    """Return the residues of a record, read as the built-in pipeline reads them."""
    kept = [line for line in lines.splitlines() if not line.startswith(_COMMENTS)]
    return b"".join(b"".join(kept).split()).removesuffix(b"*").upper().decode("ascii", errors="replace")
