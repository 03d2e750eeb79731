# SPDX-License-Identifier: MIT
"""A FASTA file with an index of offsets: any worker reads any sequence straight from the file's bytes.

No parser library does this. pyfastx, pyfaidx and pysam (htslib's faidx) write their index beside the user's file; the
last two need lines of equal length, distinct names, and bgzip instead of plain gzip. Biopython's ``SeqIO.index`` and
pyfaidx refuse duplicate identifiers. None reports the line of a header without a sequence. The index below takes one
pass in the compiled core, at memory speed.
"""

import gzip
import hashlib
import mmap
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from os import PathLike, fspath, fstat
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler._core import FastaFormatError, index_fasta
from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.sequences.shared_folder import SharedFolder, temporary_space_error
from virnuc_profiler.telemetry.values import printable

_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FastaIndexArrays:
    """Location of each sequence in the uncompressed text: five memory-mapped int64 arrays of shape (n,).

    Attributes:
        header_starts: Offset of the first byte after ``>``.
        id_ends: Offset after the identifier.
        sequence_starts: Offset after the header line.
        sequence_ends: Offset of the next header, or the end of the text.
        residue_counts: Number of residues, without white space and a final ``*``.
    """

    header_starts: NDArray[np.int64]
    id_ends: NDArray[np.int64]
    sequence_starts: NDArray[np.int64]
    sequence_ends: NDArray[np.int64]
    residue_counts: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Location:
    """What a worker needs to map the file; this is all that is pickled.

    Attributes:
        path: The file as it was named.
        text_path: The file, or its unpacked text.
        text_version: Size and modification time of the text, to notice changes after indexing.
        index_folder: Folder of the index arrays.
    """

    path: Path
    text_path: Path
    text_version: tuple[int, int]
    index_folder: Path


class FastaFile:
    """A FASTA file, plain or gzip'd (recognized by its first bytes, not by its name), indexed once.

    The text is memory-mapped; gzip'd text is unpacked once into a private temporary file. Pickling sends paths only, so
    the process that indexed the file must outlive those that receive it.

    Identifiers (the header up to the first white space) need not be distinct, because sequences are identified by their
    position. Bytes that are not UTF-8 are read as U+FFFD, so that every identifier can be printed and stored as JSON.
    """

    def __init__(self, location: _Location, folder: SharedFolder | None = None) -> None:
        self._location = location
        self._folder = folder  # only the process that created the folder keeps it and removes it
        self._fingerprint: str | None = None

    @classmethod
    def open(cls, path: str | PathLike[str]) -> "FastaFile":
        """Read and index a file.

        Args:
            path: Path of the file.

        Raises:
            WorkloadError: The file cannot be read, or is not FASTA; the message names file and line.
            OutputError: The temporary folder cannot be written.
        """
        path = Path(fspath(path))
        folder = SharedFolder()
        try:
            text_path = _plain_text(path, folder)
            with text_path.open("rb") as file:
                version = _version(file)
                _save_index(path, _map(file), folder)
            return cls(_Location(path, text_path, version, folder.path), folder)
        except BaseException:
            folder.remove()
            raise

    @cached_property
    def text(self) -> mmap.mmap | bytes:
        """The uncompressed bytes, mapped when first used.

        Raises:
            WorkloadError: The file was changed since it was indexed.
        """
        try:
            with self._location.text_path.open("rb") as file:
                if _version(file) != self._location.text_version:
                    raise WorkloadError(f"{self.path} was changed while it was in use; start again")
                return _map(file)
        except OSError as error:
            raise _unreadable(self.path, error) from None

    @cached_property
    def index(self) -> FastaIndexArrays:
        """Locations of the sequences, mapped when first used."""
        folder = self._location.index_folder
        # Convert to plain arrays, because slicing np.memmap is slow.
        return FastaIndexArrays(
            *(np.asarray(np.load(folder / f"{row.name}.npy", mmap_mode="r")) for row in fields(FastaIndexArrays))
        )

    @property
    def path(self) -> Path:
        """The file as it was named."""
        return self._location.path

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
            WorkloadError: The file cannot be read.
        """
        if self._fingerprint is None:
            self._fingerprint = fingerprint_of(self.path)
        return self._fingerprint

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
        name: bytes = self._file.text[index.header_starts[position] : index.id_ends[position]]
        return name.decode("utf-8", errors="replace")

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def __len__(self) -> int:
        return len(self._positions)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)

    def __repr__(self) -> str:
        return repr(list(self))


def fingerprint_of(path: Path) -> str:
    """Return ``sha256:`` and the digest of a file's bytes.

    Raises:
        WorkloadError: The file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise _unreadable(path, error) from None
    return f"sha256:{digest.hexdigest()}"


def _plain_text(path: Path, folder: SharedFolder) -> Path:
    """Return the path of the uncompressed text: `path` itself, or its unpacked copy in `folder`."""
    try:
        # Check before opening, because opening a pipe would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a folder" if path.is_dir() else "not a regular file (a pipe or device cannot be read twice)"
            raise WorkloadError(f"cannot read {path}: it is {kind}; name a FASTA file")
        with path.open("rb") as file:
            if file.read(len(_GZIP_MAGIC)) != _GZIP_MAGIC:
                return path
            file.seek(0)
            return _unpack(path, file, folder)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unpack(path: Path, packed: IO[bytes], folder: SharedFolder) -> Path:
    text_path = folder.path / "text.fasta"
    try:
        with text_path.open("wb") as text:
            text.writelines(_unpacked_blocks(path, packed))
    except OSError as error:  # from writing only: _unpacked_blocks raises none
        raise temporary_space_error(error) from None
    return text_path


def _unpacked_blocks(path: Path, packed: IO[bytes]) -> Iterator[bytes]:
    """Yield the text of all members of a gzip file, block by block."""
    text_bytes = 0
    try:
        with gzip.GzipFile(fileobj=packed) as unpacked:
            while block := unpacked.read(_BLOCK_BYTES):
                text_bytes += len(block)
                yield block
    except EOFError:
        raise WorkloadError(
            f"cannot read {path}: its gzip data end early, after about {text_bytes:,} bytes of text; "
            "check that the file was copied completely"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise WorkloadError(f"cannot read {path}: its gzip data are damaged ({error})") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _save_index(path: Path, text: mmap.mmap | bytes, folder: SharedFolder) -> None:
    try:
        index = index_fasta(text)
    except FastaFormatError as error:
        message, line = error.args
        raise WorkloadError(f"{path}, line {line}: {printable(message)}") from None
    for row in fields(FastaIndexArrays):
        folder.save_array(row.name, getattr(index, row.name))


def _map(file: IO[bytes]) -> mmap.mmap | bytes:
    # mmap refuses empty files.
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if fstat(file.fileno()).st_size else b""


def _version(file: IO[bytes]) -> tuple[int, int]:
    status = fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _unreadable(path: Path, error: OSError) -> WorkloadError:
    return WorkloadError(f"cannot read {path}: {error.strerror or error}")
