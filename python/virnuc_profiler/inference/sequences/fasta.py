# SPDX-License-Identifier: MIT
"""A FASTA file with an index of offsets: any worker reads any sequence straight from the file.

No parser library does this. pyfastx, pyfaidx and pysam (htslib's faidx) write their index beside the user's file; the
last two need lines of equal length, distinct names, and bgzip instead of plain gzip. Biopython's ``SeqIO.index`` and
pyfaidx refuse duplicate identifiers. None reports the line of a header without a sequence. The index below takes one
pass in the compiled core, at memory speed.
"""

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler._core import FastaFormatError, FastaIndex, FastaIndexer
from virnuc_profiler.capture.start_up.preparation import preparing
from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.sequences.compression import Compression, compression_of, unpacked_blocks
from virnuc_profiler.inference.sequences.findings import Finding, sentence, suspicious
from virnuc_profiler.inference.sequences.foreign_formats import HEAD_BYTES, refuse_foreign
from virnuc_profiler.inference.sequences.shared_folder import SharedFolder, temporary_space_error
from virnuc_profiler.inference.sequences.skipped_records import (
    FAULTS_IN_MESSAGE,
    SkippedRecord,
    read_skipped,
    require_valid,
    save_skipped,
)
from virnuc_profiler.inference.sequences.unchanged_file import (
    BLOCK_BYTES,
    FileIdentity,
    UnchangedFile,
    changed_error,
    readable,
    unreadable,
)
from virnuc_profiler.telemetry.parts.start_up_records import READING
from virnuc_profiler.telemetry.values import printable

_IDS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class FastaIndexArrays:
    """Location of each sequence in the uncompressed text: five memory-mapped int64 arrays of shape (n,).

    Attributes:
        header_starts: Offset of the first byte after ``>``.
        id_ends: Offset after the identifier.
        sequence_starts: Offset after the header line.
        sequence_ends: Offset of the next header, or the end of the text.
        residue_counts: Number of residues, without white space, comment lines and a final ``*``.
    """

    header_starts: NDArray[np.int64]
    id_ends: NDArray[np.int64]
    sequence_starts: NDArray[np.int64]
    sequence_ends: NDArray[np.int64]
    residue_counts: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Location:
    """What a worker needs to read the file; this is all that is pickled.

    Attributes:
        path: The file as it was named.
        identity: Identity of the file when it was indexed.
        text_path: The file, or its unpacked text.
        text_identity: Identity of the text when it was indexed.
        index_folder: Folder of the index arrays.
        fingerprint: Fingerprint of the file; None if it has not been computed.
        skip_invalid: Whether records that are not valid were to be left out.
        skipped: Number of records that were left out.
        findings: What is odd in the others.
    """

    path: Path
    identity: FileIdentity
    text_path: Path
    text_identity: FileIdentity
    index_folder: Path
    fingerprint: str | None = None
    skip_invalid: bool = False
    skipped: int = 0
    findings: tuple[Finding, ...] = ()


class FastaFile:
    """A FASTA file, plain or compressed with gzip, bzip2, xz or zstd, indexed once.

    The compression is recognized by the first bytes, not by the name. Compressed text is unpacked once into a private
    temporary file. Pickling sends paths only, so the process that indexed the file must outlive those that receive it.
    Every reading notices a file that was changed after it was indexed.

    Identifiers (the header up to the first white space) need not be distinct, because sequences are identified by their
    position. Bytes that are not UTF-8 are read as U+FFFD, so that every identifier can be printed and stored as JSON.
    Lines that start with ``;``, ``#`` or ``//`` are comments and skipped. Lines end with LF, CRLF or CR.
    """

    def __init__(self, location: _Location, folder: SharedFolder | None = None) -> None:
        self._location = location
        self._folder = folder  # only the process that created the folder keeps it and removes it

    @classmethod
    @preparing(READING)
    def open(cls, path: str | PathLike[str], *, skip_invalid: bool = False, strict: bool = False) -> "FastaFile":
        """Read and index a file.

        Args:
            path: Path of the file.
            skip_invalid: Whether records that are not valid are left out, instead of the file being refused.
            strict: Whether a file is refused whose sequences look like nucleotides, hold gaps, digits, inner stops,
                other characters or lines like those of a message, or are mostly unknown.

        Raises:
            WorkloadError: The file cannot be read, is not FASTA, or is refused; the message names file and lines.
            OutputError: The temporary folder cannot be written.
        """
        path = Path(fspath(path))
        folder = SharedFolder()
        try:
            with readable(path):
                identity = FileIdentity.of(path)
            with _unchanged(path, identity):
                text_path = _plain_text(path, folder)
                text_identity = identity if text_path == path else FileIdentity.of(text_path)
                index = _index(path, text_path, text_identity.size, None if skip_invalid else FAULTS_IN_MESSAGE)
                with readable(path), text_path.open("rb") as text:
                    require_valid(path, text.read(HEAD_BYTES), index, skip_invalid)
                findings = tuple(Finding(*found) for found in index.findings)
                if strict and suspicious(findings):
                    what = sentence(suspicious(findings))
                    raise WorkloadError(f"{path} is refused: {what}; without strict (--strict) this is a warning")
                for row in fields(FastaIndexArrays):
                    folder.save_array(row.name, getattr(index, row.name))
                save_skipped(index, folder)
            return cls(
                _Location(
                    path, identity, text_path, text_identity, folder.path,
                    skip_invalid=skip_invalid, skipped=index.fault_count, findings=findings,
                ),
                folder,
            )  # fmt: skip
        except BaseException:
            folder.remove()
            raise

    @cached_property
    def index(self) -> FastaIndexArrays:
        """Locations of the sequences, mapped when first used."""
        folder = self._location.index_folder
        # Convert to plain arrays, because slicing np.memmap is slow.
        return FastaIndexArrays(
            *(np.asarray(np.load(folder / f"{row.name}.npy", mmap_mode="r")) for row in fields(FastaIndexArrays))
        )

    def read_ranges(
        self, starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
        """Read ranges of the uncompressed text that do not overlap.

        Args:
            starts: (n,) offset of the first byte of each range, in any order.
            ends: (n,) offset after the last byte of each range.

        Returns:
            Bytes that contain all ranges, and start and end of each range in them.

        Raises:
            WorkloadError: The file was truncated, changed or replaced since it was indexed.
        """
        return self._text.read_ranges(starts, ends)

    def read_sequences(
        self, positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
        """Read the residues of the sequences at `positions`, as :meth:`read_ranges` returns ranges.

        Args:
            positions: (n,) positions of different sequences, in any order.

        Raises:
            WorkloadError: The file was truncated, changed or replaced since it was indexed.
        """
        return self.read_ranges(self.index.sequence_starts[positions], self.index.sequence_ends[positions])

    def require_unchanged(self) -> None:
        """Check that the file is the one that was indexed.

        Raises:
            WorkloadError: The file was truncated, changed or replaced since it was indexed.
        """
        self._text.require_unchanged()

    @cached_property
    def _text(self) -> UnchangedFile:
        location = self._location
        known = location.fingerprint if location.text_path == location.path else None
        return UnchangedFile(location.text_path, location.text_identity, known, name=location.path)

    @property
    def path(self) -> Path:
        """The file as it was named."""
        return self._location.path

    @property
    def skip_invalid(self) -> bool:
        """Whether records that are not valid were to be left out."""
        return self._location.skip_invalid

    @property
    def skipped(self) -> int:
        """Number of records that were left out because they are not valid."""
        return self._location.skipped

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is odd in the records that were not left out, and what was read over."""
        return self._location.findings

    def skipped_records(self) -> Iterator[SkippedRecord]:
        """Yield the records that were left out, in the order of the file."""
        if self.skipped:
            yield from read_skipped(self._location.index_folder)

    @property
    def residue_counts(self) -> NDArray[np.int64]:
        """(n,) residues of each sequence."""
        return self.index.residue_counts

    def __len__(self) -> int:
        return len(self.index.residue_counts)

    def sequence_ids(self, positions: NDArray[np.int64]) -> Sequence[str]:
        """Return the identifiers of the sequences at `positions`, each decoded when it is read."""
        return SequenceIds(self, positions)

    def total_tokens(self, max_sequence_length: int = 1022) -> int:
        """Return the tokens of all sequences, BOS and EOS included.

        Args:
            max_sequence_length: Residues to which longer sequences are truncated.
        """
        return int(np.minimum(self.residue_counts, max_sequence_length).sum()) + 2 * len(self)

    @property
    def fingerprint(self) -> str:
        """``sha256:`` and the digest of the file's bytes on disk, computed when first used.

        Raises:
            WorkloadError: The file cannot be read, or was changed since it was indexed.
        """
        if self._location.fingerprint is None:
            fingerprint = UnchangedFile(self.path, self._location.identity).fingerprint()
            self._location = replace(self._location, fingerprint=fingerprint)
            self.__dict__.pop("_text", None)  # what is opened next knows the fingerprint
        assert self._location.fingerprint is not None
        return self._location.fingerprint

    def __reduce__(self) -> tuple[Any, ...]:
        return FastaFile, (self._location,)

    def __repr__(self) -> str:
        return f"FastaFile({str(self.path)!r}, {len(self)} sequences)"


class SequenceIds(Sequence[str]):
    """Identifiers of some sequences of a file, decoded when read, because most runs read only a few of them."""

    def __init__(self, file: FastaFile, positions: NDArray[np.int64]) -> None:
        self._file = file
        self._positions = positions

    @overload
    def __getitem__(self, item: int) -> str: ...
    @overload
    def __getitem__(self, item: slice) -> "SequenceIds": ...
    def __getitem__(self, item: int | slice) -> "str | SequenceIds":
        if isinstance(item, slice):
            return SequenceIds(self._file, self._positions[item])
        position = self._positions[item]
        index = self._file.index
        text, _, _ = self._file.read_ranges(index.header_starts[[position]], index.id_ends[[position]])
        return text.tobytes().decode("utf-8", errors="replace")

    def __iter__(self) -> Iterator[str]:
        index = self._file.index
        for first in range(0, len(self), _IDS_AT_ONCE):
            positions = self._positions[first : first + _IDS_AT_ONCE]
            text, starts, ends = self._file.read_ranges(index.header_starts[positions], index.id_ends[positions])
            data = text.data
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
                yield str(data[start:end], "utf-8", errors="replace")

    def __len__(self) -> int:
        return len(self._positions)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)

    def __repr__(self) -> str:
        return repr(list(self))


@contextmanager
def _unchanged(path: Path, identity: FileIdentity) -> Iterator[None]:
    """Refuse a file that changes while it is indexed, which explains any other error better than that error does.

    Raises:
        WorkloadError: The file was changed.
    """
    try:
        yield
    except WorkloadError:
        _require_same(path, identity)
        raise
    _require_same(path, identity)


def _require_same(path: Path, identity: FileIdentity) -> None:
    with readable(path):
        now = FileIdentity.of(path)
    if now != identity:
        raise changed_error(path, identity, now)


def _plain_text(path: Path, folder: SharedFolder) -> Path:
    """Return the path of the uncompressed text: `path` itself, or its unpacked copy in `folder`."""
    try:
        # Check before opening, because opening a pipe would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a folder" if path.is_dir() else "not a regular file (a pipe or device cannot be read twice)"
            raise WorkloadError(f"cannot read {path}: it is {kind}; name a FASTA file")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            compression = compression_of(head)
            if compression is None:
                refuse_foreign(path, head)
                return path
            file.seek(0)
            return _unpack(path, file, compression, folder)
    except OSError as error:
        raise unreadable(path, error) from None


def _unpack(path: Path, packed: IO[bytes], compression: Compression, folder: SharedFolder) -> Path:
    text_path = folder.path / "text.fasta"
    head = b""
    try:
        with text_path.open("wb") as text:
            for block in unpacked_blocks(path, packed, compression):
                text.write(block)
                if len(head) < HEAD_BYTES:
                    head += block[:HEAD_BYTES]
                    _refuse_packed(path, head, compression)
            text.flush()
    except OSError as error:  # from writing only: unpacked_blocks raises none
        raise temporary_space_error(error) from None
    return text_path


def _refuse_packed(path: Path, head: bytes, compression: Compression) -> None:
    """Refuse what was unpacked if it is no FASTA; this is checked before a large file has been unpacked in vain."""
    again = compression_of(head)
    if again is not None:
        raise WorkloadError(
            f"cannot read {path}: it is compressed twice ({again.name} inside {compression.name}); unpack it once"
        )
    refuse_foreign(path, head, compression.name)


def _index(path: Path, text_path: Path, text_size: int, max_faults: int | None) -> FastaIndex:
    """Index the first `text_size` bytes of a text: a file that another process extends would never end."""
    indexer = FastaIndexer(max_faults=max_faults)
    block = memoryview(bytearray(BLOCK_BYTES))
    try:
        with text_path.open("rb", buffering=0) as file:
            while size := file.readinto(block[:text_size]):
                indexer.feed(block[:size])
                text_size -= size
        return indexer.finish()
    except FastaFormatError as error:
        message, line = error.args
        raise WorkloadError(f"{path}, line {line}: {printable(message)}") from None
    except OSError as error:
        raise unreadable(path, error) from None
