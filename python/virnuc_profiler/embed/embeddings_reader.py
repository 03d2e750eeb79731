# SPDX-License-Identifier: MIT
"""Reads the vectors of a job, by identifier and by position, without loading what is not asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virnuc_profiler.embed.formats.optional_packages import require_package
from virnuc_profiler.embed.formats.residue_files import ResidueView
from virnuc_profiler.embed.formats.select_format import make_format
from virnuc_profiler.embed.formats.shard_table import IdColumn
from virnuc_profiler.embed.formats.shard_view import ShardView, VectorPages
from virnuc_profiler.embed.id_index import IdIndex
from virnuc_profiler.embed.job import DTYPES, EmbedJob, read_job
from virnuc_profiler.embed.job_index import INDEX_FOLDER
from virnuc_profiler.embed.manifest.manifest_files import read_manifests
from virnuc_profiler.embed.vector_index import VectorIndex
from virnuc_profiler.errors import TelemetryFormatError

_NUMPY: Final[Mapping[str, np.dtype[Any]]] = {"fp32": np.dtype("<f4"), "fp16": np.dtype("<f2")}
assert _NUMPY.keys() == DTYPES.keys()


@dataclass(frozen=True, slots=True)
class EmbeddedShard:
    """The rows of one shard.

    Attributes:
        number: Number of the shard.
        positions: (n,) positions of its sequences in the FASTA file.
        ids: (n,) their identifiers.
        lengths: (n,) their residues in the FASTA file.
        truncated: (n,) whether they were cut to the length limit.
        vectors: (n, hidden_size) their vectors.
    """

    number: int
    positions: NDArray[np.int64]
    ids: list[str]
    lengths: NDArray[np.int32]
    truncated: NDArray[np.bool_]
    vectors: NDArray[Any]


def open_embeddings(folder: str | PathLike[str]) -> Embeddings:
    """Open the vectors of a job, which may be unfinished.

    Args:
        folder: Folder of the job, the ``--output-dir`` of ``embed``.

    Raises:
        TelemetryFormatError: The folder holds no job.
        LibraryUnavailable: The package that reads the files is missing.
    """
    return Embeddings(Path(folder))


class Embeddings:
    """The vectors of a job.

    A position is the number of a sequence in the FASTA file, from 0. ``embeddings[7]``, ``embeddings[5:9]`` and
    ``embeddings[[3, 1, 3]]`` return vectors by position, in the type in which they are stored. What an unfinished job
    has not written yet raises LookupError, which says what is missing.

    Args:
        folder: Folder of the job.

    Attributes:
        folder: Folder of the job.
        job: What was computed: file, model, weights, precision.
    """

    def __init__(self, folder: Path) -> None:
        job = read_job(folder)
        if job is None:
            raise TelemetryFormatError(f"{folder} holds no embed job (it has no job.json)")
        self.folder = folder
        self.job: EmbedJob = job
        self._format = make_format(job.format)
        self._records = sorted(read_manifests(folder).values(), key=lambda record: record.start)
        self._starts = np.array([record.start for record in self._records], dtype=np.int64)
        self._stops = np.array([record.stop for record in self._records], dtype=np.int64)
        self._places = VectorIndex.load(folder / INDEX_FOLDER)
        self._views: dict[int, ShardView] = {}
        self._pages: dict[int, VectorPages] = {}

    def __len__(self) -> int:
        return int((self._stops - self._starts).sum())

    @property
    def shape(self) -> tuple[int, int]:
        """Number of vectors and length of each."""
        return len(self), self.job.hidden_size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the vectors' numbers."""
        return _NUMPY[self.job.dtype]

    @property
    def complete(self) -> bool:
        """Whether every sequence has its vector."""
        return len(self) == self.job.num_sequences

    @property
    def positions(self) -> NDArray[np.int64]:
        """(n,) positions that have a vector, ascending."""
        ranges = [np.arange(start, stop) for start, stop in zip(self._starts, self._stops, strict=True)]
        return np.concatenate(ranges) if ranges else np.empty(0, dtype=np.int64)

    def missing(self) -> str:
        """Return in a sentence what an unfinished job lacks; empty if it lacks nothing."""
        if self.complete:
            return ""
        left = self.job.num_sequences - len(self)
        shards = self.job.num_shards - len(self._records)
        return (
            f"{self.folder} is not finished: {left:,} of {self.job.num_sequences:,} sequences, in {shards:,} of "
            f"{self.job.num_shards:,} shards, have no vector yet; virnuc-profiler embed --resume {self.folder} "
            "continues it"
        )

    @overload
    def __getitem__(self, item: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, item: slice | ArrayLike) -> NDArray[Any]: ...
    def __getitem__(self, item: Any) -> NDArray[Any]:
        """Return the vector of a position, or those of a slice or an array of positions.

        Raises:
            IndexError: A position is outside of the file.
            LookupError: A position has no vector yet.
            TypeError: The positions are no integers.
        """
        if isinstance(item, slice):
            start, stop, step = item.indices(self.job.num_sequences)
            if step == 1:
                return self._read(start, max(start, stop))
            return self._take(np.arange(start, stop, step, dtype=np.int64))
        if np.ndim(item) == 0:
            vector: NDArray[Any] = self._take(np.array([item]))[0]
            return vector
        positions = np.asarray(item)
        if positions.size and not np.issubdtype(positions.dtype, np.integer):
            raise TypeError(f"positions are {positions.dtype}, must be integers (of a mask: np.flatnonzero(mask))")
        return self._take(positions)

    def positions_of(self, name: str) -> NDArray[np.int64]:
        """Return all positions of an identifier in ascending order.

        Args:
            name: The identifier: the FASTA header up to the first blank.

        Raises:
            KeyError: No sequence with a vector has it.
        """
        rows = self._ids.rows_of(name)
        if not len(rows):
            unfinished = self.missing()
            raise KeyError(f"no sequence has the id {name!r}{f' so far: {unfinished}' if unfinished else ''}")
        return rows if self.complete else self.positions[rows]

    def by_id(self, name: str) -> NDArray[Any]:
        """Return the vectors of all sequences with an identifier, (k, hidden_size), in the order of the file.

        Args:
            name: The identifier.

        Raises:
            KeyError: No sequence with a vector has it.
        """
        return self._take(self.positions_of(name))

    def by_ids(self, names: Sequence[str]) -> NDArray[Any]:
        """Return one vector for each identifier, (n, hidden_size); of several sequences, that of the first.

        Args:
            names: (n,) identifiers.

        Raises:
            KeyError: An identifier is not there.
        """
        return self._take(np.array([self.positions_of(name)[0] for name in names], dtype=np.int64))

    def residues(self, position: int) -> NDArray[Any]:
        """Return the vectors of a sequence's residues, (residues, hidden_size), of a job with ``--per-residue``.

        Args:
            position: Position of the sequence.

        Raises:
            ValueError: The job has no vectors of residues.
            IndexError: The position is outside of the file.
            LookupError: The position has no vectors yet.
        """
        if not self.job.per_residue:
            raise ValueError(f"{self.folder} has no vectors of residues: it was written without --per-residue")
        number = int(self._shards_of(np.array([position]))[0])
        with self._readable(number, 1) as path:
            return ResidueView(path).of_row(position - int(self._starts[number]))

    def id_of(self, position: int) -> str:
        """Return the identifier of a position.

        Raises:
            LookupError: The position has no vector yet.
        """
        row = position if self.complete else int(np.searchsorted(self.positions, position))
        self._shards_of(np.array([position]))
        return self._ids.id_of(row)

    def shards(self) -> Iterator[EmbeddedShard]:
        """Yield the finished shards in the order of the file, each of which is in memory only while it is used."""
        for number, record in enumerate(self._records):
            view = self._view(number)
            vectors = np.empty((record.stop - record.start, self.job.hidden_size), self.dtype)
            self._vectors(number).read(0, len(vectors), vectors)
            yield EmbeddedShard(record.shard, view.positions, _texts(view.ids), view.lengths, view.truncated, vectors)
            self._views.pop(number, None)
            self._pages.pop(number, None)

    def to_numpy(self, *, missing: str = "raise") -> NDArray[Any]:
        """Return all vectors in the order of the file, (n, hidden_size).

        Args:
            missing: What happens in an unfinished job: ``raise``, or ``nan`` for rows of NaN.

        Raises:
            LookupError: The job is not finished.
            ValueError: `missing` is something else.
        """
        if missing not in ("raise", "nan"):
            raise ValueError(f"missing is {missing!r}, must be 'raise' or 'nan'")
        if missing == "raise":
            return self._read(0, self.job.num_sequences)
        vectors = np.full((self.job.num_sequences, self.job.hidden_size), np.nan, self.dtype)
        for number, record in enumerate(self._records):
            self._vectors(number).read(0, record.stop - record.start, vectors[record.start : record.stop])
        return vectors

    def to_pandas(self) -> Any:
        """Return the sequences that have a vector as a pandas DataFrame, whose index is their position.

        The columns are ``id``, ``length``, ``truncated`` and ``vector``.

        Raises:
            LibraryUnavailable: pandas is missing.
        """
        pandas = require_package("pandas", "data frames", install="pandas")
        columns: dict[str, list[Any]] = {name: [] for name in ("position", "id", "length", "truncated", "vector")}
        for shard in self.shards():
            columns["position"].append(shard.positions)
            columns["id"] += shard.ids
            columns["length"].append(shard.lengths)
            columns["truncated"].append(shard.truncated)
            columns["vector"] += list(shard.vectors)
        joined = {
            name: parts if name in ("id", "vector") else np.concatenate([np.empty(0, np.int64), *parts])
            for name, parts in columns.items()
        }
        joined["truncated"] = np.asarray(joined["truncated"], dtype=np.bool_)
        return pandas.DataFrame(joined).set_index("position")

    def __repr__(self) -> str:
        state = "" if self.complete else f" of {self.job.num_sequences:,}, unfinished"
        return f"Embeddings({str(self.folder)!r}, {len(self):,} vectors{state}, {self.job.model})"

    @cached_property
    def _ids(self) -> IdIndex:
        index = IdIndex.load(self.folder / INDEX_FOLDER) if self.complete else None
        if index is not None and len(index) == len(self):
            return index
        return IdIndex.build(self._view(number).ids for number in range(len(self._records)))

    def _view(self, number: int) -> ShardView:
        view = self._views.get(number)
        if view is None:
            with self._readable(number) as path:
                view = self._views[number] = self._format.open(path)
        return view

    def _vectors(self, number: int) -> VectorPages:
        pages = self._pages.get(number)
        if pages is None:
            places = None if self._places is None else self._places.places(number, self._records[number])
            with self._readable(number) as path:
                if places is None:
                    pages = self._view(number).vectors
                else:
                    pages = VectorPages.mapped(path, places, self.job.hidden_size, self.dtype)
            self._pages[number] = pages
        return pages

    @contextmanager
    def _readable(self, number: int, file: int = 0) -> Iterator[Path]:
        """Yield the path of a shard's file, and name the file if it cannot be read.

        Args:
            number: Number of the record.
            file: 0 for the file of the vectors, 1 for that of the residues.

        Raises:
            TelemetryFormatError: The file is missing or damaged.
        """
        path = self.folder / self._records[number].files[file].name
        try:
            yield path
        except (OSError, ValueError) as error:
            raise TelemetryFormatError(
                f"{path} cannot be read ({error}): virnuc-profiler embed --resume {self.folder} writes it again"
            ) from error

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        vectors = np.empty((stop - start, self.job.hidden_size), self.dtype)
        if not len(vectors):
            return vectors
        there = 0
        for number in range(len(self._records)):
            first, low, high = self._starts[number], max(start, self._starts[number]), min(stop, self._stops[number])
            if low < high:
                self._vectors(number).read(low - first, high - first, vectors[low - start : high - start])
                there += high - low
        if there < stop - start:
            raise LookupError(self.missing())
        return vectors

    def _take(self, positions: NDArray[Any]) -> NDArray[Any]:
        positions = positions.astype(np.int64) if positions.size else np.empty(0, dtype=np.int64)
        positions = np.where(positions < 0, positions + self.job.num_sequences, positions)
        shards = self._shards_of(positions)
        vectors = np.empty((len(positions), self.job.hidden_size), self.dtype)
        for number in np.unique(shards).tolist():
            there = np.flatnonzero(shards == number)
            rows = np.empty((len(there), self.job.hidden_size), self.dtype)
            self._vectors(number).take(positions[there] - self._starts[number], rows)
            vectors[there] = rows
        return vectors

    def _shards_of(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the record that holds each position."""
        outside = positions[(positions < 0) | (positions >= self.job.num_sequences)]
        if len(outside):
            raise IndexError(f"position {outside[0]} is not from 0 to {self.job.num_sequences - 1:,}")
        numbers = np.searchsorted(self._starts, positions, side="right") - 1
        if len(positions) and (numbers.min() < 0 or (positions >= self._stops[numbers]).any()):
            raise LookupError(self.missing())
        return numbers


def _texts(column: IdColumn) -> list[str]:
    text, offsets = column.text.tobytes(), column.offsets.tolist()
    return [text[start:end].decode() for start, end in pairwise(offsets)]
