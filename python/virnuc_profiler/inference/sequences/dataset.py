# SPDX-License-Identifier: MIT
"""Datasets that read FASTA files as chunks of encoded sequences, split among DataLoader workers."""

import logging
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, count
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import IterableDataset, get_worker_info

from virnuc_profiler._core import encode_residues
from virnuc_profiler.inference.argument_checks import checked_integer
from virnuc_profiler.inference.batches import EncodedChunk
from virnuc_profiler.inference.sequences.alphabet import residue_alphabet
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.inference.sequences.findings import sentence
from virnuc_profiler.inference.sequences.shared_folder import SharedFolder
from virnuc_profiler.telemetry.number_text import counted

_log = logging.getLogger(__name__)

FastaSource: TypeAlias = str | PathLike[str] | FastaFile

_CHUNK_TOKENS = 131_072
"""Average tokens of a chunk if ``chunk_sequences`` is None. Receiving a chunk costs the main process about the same
whatever its size, so chunks are large; a size in tokens makes short sequences arrive as fast as long ones."""
_CHUNKS_PER_WORKER = 4
"""Smallest number of chunks per worker, so that one small file keeps all workers busy."""


class IndexBasedDataset(IterableDataset[EncodedChunk]):
    """Chosen sequences of one or more FASTA files, in the given order.

    With n DataLoader workers, worker k mod n encodes chunk k. The DataLoader collects from its workers in turn, so
    chunks arrive in input order for any number of workers.

    Args:
        fasta: A path or an open `FastaFile`, or a list of them; positions continue from one file to the next.
        indices: (n,) positions to read, each at most once; None reads all sequences. Records that are left out have no
            position.
        max_sequence_length: Length limit in residues; longer sequences are truncated and counted.
        chunk_sequences: Largest number of sequences per chunk, which is one message from a worker; None chooses chunks
            of 131,072 tokens on average. Chunks are smaller if workers would be idle otherwise.
        alphabet: Alphabet that encodes the sequences, as for `residue_alphabet`.
        skip_invalid: Whether records that are not valid FASTA are left out, instead of their file being refused. Files
            that are open already are taken as they are.
        strict: Whether a file is refused that looks like something other than proteins, instead of a warning.

    Attributes:
        files: The open files.
        max_sequence_length: Length limit in residues.
        chunk_sequences: Largest number of sequences per chunk.

    Raises:
        WorkloadError: A file cannot be read, is not FASTA, or is refused.
        OutputError: The temporary folder cannot be written.
        TypeError: A number is not an integer.
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        fasta: FastaSource | Sequence[FastaSource],
        indices: ArrayLike | None = None,
        *,
        max_sequence_length: int = 1022,
        chunk_sequences: int | None = None,
        alphabet: Any = None,
        skip_invalid: bool = False,
        strict: bool = False,
    ) -> None:
        super().__init__()
        self.max_sequence_length = checked_integer("max_sequence_length", max_sequence_length, 1)
        if chunk_sequences is not None:
            chunk_sequences = checked_integer("chunk_sequences", chunk_sequences, 1)
        self._alphabet = residue_alphabet(alphabet)
        sources = [fasta] if isinstance(fasta, str | PathLike | FastaFile) else list(fasta)
        if not sources:
            raise ValueError("fasta is an empty list, must name at least one file")
        self.files = tuple(open_fasta(one, skip_invalid=skip_invalid, strict=strict) for one in sources)
        self._file_starts = np.array([0, *accumulate(map(len, self.files))], dtype=np.int64)
        self._indices = None if indices is None else _checked_indices(indices, int(self._file_starts[-1]))
        self.chunk_sequences = chunk_sequences or self._sequences_of_a_chunk()
        self._folder: SharedFolder | None = None

    def __len__(self) -> int:
        return int(self._file_starts[-1]) if self._indices is None else len(self._indices)

    def __iter__(self) -> Iterator[EncodedChunk]:
        first, step = _worker_share()
        size = self._chunk_size(_num_workers())
        for start in range(first * size, len(self), step * size):
            yield self._chunk(start, size)

    def repeated(self) -> Iterator[EncodedChunk]:
        """Yield the chunks of one pass after the other, without end; nothing if there are no sequences.

        Each pass has the chunks of a single pass. With n DataLoader workers, worker g mod n encodes chunk g, where g
        counts over all passes, so the chunks arrive in order although a pass need not have a multiple of n. A subclass
        with an ``__iter__`` of its own needs a ``repeated`` of its own too.
        """
        first, step = _worker_share()
        size = self._chunk_size(_num_workers())
        chunks = self.chunks_per_pass(_num_workers())
        for number in count(first, step) if chunks else ():
            yield self._chunk(number % chunks * size, size)

    def chunks_per_pass(self, num_workers: int) -> int:
        """Return the number of chunks of one pass.

        Args:
            num_workers: Number of DataLoader workers; 0 if the main process reads.
        """
        return -(-len(self) // self._chunk_size(num_workers))

    def sequence_ids(self, positions: NDArray[np.int64]) -> Sequence[str]:
        """Return the identifiers of the sequences at `positions`, in their order."""
        if len(self.files) == 1:
            return self.files[0].sequence_ids(positions)
        parts = [file.sequence_ids(inside) for file, inside in self._by_file(positions)]
        return list(chain.from_iterable(parts))

    @property
    def residue_counts(self) -> NDArray[np.int64]:
        """(n,) residues of each sequence in reading order, before truncation."""
        counts = np.concatenate([file.residue_counts for file in self.files])
        return counts if self._indices is None else counts[self._indices]

    def _sequences_of_a_chunk(self) -> int:
        if len(self) == 0:
            return 1
        mean_tokens = 2 + float(np.minimum(self.residue_counts, self.max_sequence_length).mean())
        return max(1, round(_CHUNK_TOKENS / mean_tokens))

    def _chunk_size(self, num_workers: int) -> int:
        """Return the sequences of each chunk but the last one of a pass."""
        if not num_workers:
            return self.chunk_sequences
        return max(1, min(self.chunk_sequences, -(-len(self) // (_CHUNKS_PER_WORKER * num_workers))))

    def _chunk(self, start: int, size: int) -> EncodedChunk:
        return self.encode(self._positions(start, min(start + size, len(self))))

    def _positions(self, start: int, stop: int) -> NDArray[np.int64]:
        if self._indices is None:
            return np.arange(start, stop, dtype=np.int64)
        return np.array(self._indices[start:stop])  # a copy, so that a chunk does not refer to the mapped file

    def _by_file(self, positions: NDArray[np.int64]) -> Iterator[tuple[FastaFile, NDArray[np.int64]]]:
        """Yield runs of `positions` that lie in one file, as that file and the positions inside it."""
        owners = np.searchsorted(self._file_starts, positions, side="right") - 1
        for run in np.split(np.arange(len(positions)), np.flatnonzero(np.diff(owners)) + 1):
            if len(run):
                owner = owners[run[0]]
                yield self.files[owner], positions[run] - self._file_starts[owner]

    def encode(self, positions: NDArray[np.int64]) -> EncodedChunk:
        """Read and encode sequences as one chunk.

        Args:
            positions: (n,) positions of different sequences, in any order.
        """
        parts = [
            encode_residues(
                *file.read_sequences(inside),
                self._alphabet.table,
                bos=self._alphabet.bos,
                eos=self._alphabet.eos,
                unknown=self._alphabet.unknown,
                max_residues=self.max_sequence_length,
                skip_comments=True,
            )
            for file, inside in self._by_file(positions)
        ]
        if len(parts) == 1:
            part = parts[0]
            return EncodedChunk(positions, part.tokens, part.offsets, part.truncated, part.unknown_residues)
        part_starts = accumulate((len(part.tokens) for part in parts), initial=0)
        offsets = [part.offsets[1:] + start for part, start in zip(parts, part_starts, strict=False)]
        return EncodedChunk(
            positions,
            np.concatenate([part.tokens for part in parts]),
            np.concatenate([np.zeros(1, dtype=np.int64), *offsets]),
            sum(part.truncated for part in parts),
            sum(part.unknown_residues for part in parts),
        )

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_folder": None}
        if self._indices is not None:
            if self._folder is None:
                self._folder = SharedFolder()
                self._folder.save_array("indices", self._indices)
            state["_indices"] = self._folder.path / "indices.npy"
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._indices is not None:
            self._indices = np.load(state["_indices"], mmap_mode="r")


class SequenceDataset(IndexBasedDataset):
    """All sequences of one or more FASTA files, in input order.

    Args:
        fasta_path_or_paths: A path or an open `FastaFile`, or a list of them; positions continue from one file to the
            next.
        max_sequence_length: Length limit in residues; longer sequences are truncated and counted.
        chunk_sequences: Largest number of sequences per chunk; None chooses chunks of 131,072 tokens on average.
        alphabet: Alphabet that encodes the sequences, as for `residue_alphabet`.
        skip_invalid: Whether records that are not valid FASTA are left out, instead of their file being refused. Files
            that are open already are taken as they are.
        strict: Whether a file is refused that looks like something other than proteins, instead of a warning.

    Raises:
        WorkloadError: A file cannot be read, is not FASTA, or is refused.
        OutputError: The temporary folder cannot be written.
        TypeError: A number is not an integer.
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        fasta_path_or_paths: FastaSource | Sequence[FastaSource],
        *,
        max_sequence_length: int = 1022,
        chunk_sequences: int | None = None,
        alphabet: Any = None,
        skip_invalid: bool = False,
        strict: bool = False,
    ) -> None:
        super().__init__(
            fasta_path_or_paths,
            max_sequence_length=max_sequence_length,
            chunk_sequences=chunk_sequences,
            alphabet=alphabet,
            skip_invalid=skip_invalid,
            strict=strict,
        )


def open_fasta(file: str | PathLike[str] | FastaFile, *, skip_invalid: bool = False, strict: bool = False) -> FastaFile:
    """Open a file, and warn of what was left out and of what may not be a protein.

    Args:
        file: Path of the file, or an open file, which is returned as it is.
        skip_invalid: Whether records that are not valid FASTA are left out, instead of the file being refused.
        strict: Whether a file is refused that looks like something other than proteins, instead of a warning.

    Raises:
        WorkloadError: The file cannot be read, is not FASTA, or is refused.
        OutputError: The temporary folder cannot be written.
    """
    if isinstance(file, FastaFile):
        return file
    fasta = FastaFile.open(file, skip_invalid=skip_invalid, strict=strict)
    if fasta.skipped:
        left_out = f"{counted(fasta.skipped, 'invalid record was', 'invalid records were')} left out"
        _log.warning("%s: %s, the first in %s", file, left_out, next(fasta.skipped_records()))
    if fasta.findings:
        _log.warning("%s: %s", file, sentence(fasta.findings))
    return fasta


def _num_workers() -> int:
    worker = get_worker_info()
    return worker.num_workers if worker else 0


def _worker_share() -> tuple[int, int]:
    """Return the number of this worker's first chunk, and the step to its next ones."""
    worker = get_worker_info()
    return (worker.id, worker.num_workers) if worker else (0, 1)


def _checked_indices(indices: ArrayLike, sequences: int) -> NDArray[np.int64]:
    array = np.asarray(indices)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"indices has shape {array.shape} and type {array.dtype}, must be a list of integers")
    array = array.astype(np.int64)
    outside = array[(array < 0) | (array >= sequences)]
    if outside.size:
        raise ValueError(f"indices holds {outside[0]}, must be from 0 to {sequences - 1}")
    distinct, counts = np.unique(array, return_counts=True)
    if len(distinct) < len(array):
        raise ValueError(f"indices holds {distinct[counts > 1][0]} more than once; each position may occur once")
    return array
