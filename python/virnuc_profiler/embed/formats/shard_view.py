# SPDX-License-Identifier: MIT
"""A shard's file, open for reading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.embed.formats.shard_table import IdColumn


class PagePlace(NamedTuple):
    """A block of vectors in a file.

    Attributes:
        rows: Number of its vectors.
        start: Byte of the file at which they begin.
    """

    rows: int
    start: int


class VectorPages:
    """The vectors of a shard as blocks of memory, which may be views of its mapped file.

    Args:
        pages: Blocks of shape (rows, hidden_size), in order.
    """

    def __init__(self, pages: Sequence[NDArray[Any]]) -> None:
        self._pages = pages
        self._starts = np.cumsum([0, *map(len, pages)])

    @classmethod
    def mapped(cls, path: Path, places: Sequence[PagePlace], hidden_size: int, dtype: np.dtype[Any]) -> VectorPages:
        """Map the vectors of a file.

        Args:
            path: The file.
            places: Where the vectors are.
            hidden_size: Length of a vector.
            dtype: Type of its numbers.

        Raises:
            OSError: The file cannot be read.
        """
        data = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
        row_bytes = hidden_size * dtype.itemsize
        return cls(
            [
                data[place.start : place.start + place.rows * row_bytes].view(dtype).reshape(place.rows, hidden_size)
                for place in places
            ]
        )

    def __len__(self) -> int:
        return int(self._starts[-1])

    def take(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copy rows.

        Args:
            rows: (n,) numbers of the rows, in any order.
            out: (n, hidden_size) memory that they are copied to.
        """
        pages = np.searchsorted(self._starts, rows, side="right") - 1
        for page in np.unique(pages).tolist():
            there = np.flatnonzero(pages == page)
            out[there] = self._pages[page][rows[there] - self._starts[page]]

    def read(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Copy a range of rows.

        Args:
            start: First row.
            stop: Row after the last one.
            out: (stop - start, hidden_size) memory that they are copied to.
        """
        for first, page in zip(self._starts.tolist(), self._pages, strict=False):
            low, high = max(start, first), min(stop, first + len(page))
            if low < high:
                out[low - start : high - start] = page[low - first : high - first]


class ShardView(Protocol):
    """What can be read of a shard's file."""

    @property
    def positions(self) -> NDArray[np.int64]:
        """(n,) positions of the rows in the FASTA file."""

    @property
    def ids(self) -> IdColumn:
        """(n,) identifiers of the rows."""

    @property
    def lengths(self) -> NDArray[np.int32]:
        """(n,) residues of each sequence."""

    @property
    def truncated(self) -> NDArray[np.bool_]:
        """(n,) whether the sequence was cut to the length limit."""

    @property
    def vectors(self) -> VectorPages:
        """The vectors."""

    @property
    def places(self) -> Sequence[PagePlace] | None:
        """Where the vectors are in the file; None if they are not there as plain numbers."""
