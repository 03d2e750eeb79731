# SPDX-License-Identifier: MIT
"""An index of the identifiers of a job, so that a lookup reads a few kilobytes instead of every shard.

Four memory-mapped arrays: the text of all identifiers, their offsets in it, their hashes in ascending order, and the
position that each hash belongs to. A lookup finds the hash by bisection and then compares the text, so equal hashes of
different identifiers do no harm, and all positions of an identifier that occurs several times are found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.embed.formats.shard_table import IdColumn

_FACTOR: Final = 0x9E3779B97F4A7C15
"""Odd, from the golden ratio: powers of it differ in all bits."""


@dataclass(frozen=True, slots=True)
class IdIndex:
    """The arrays of the index of n identifiers.

    Attributes:
        text: (bytes,) uint8 UTF-8 text of all identifiers.
        offsets: (n + 1,) int64 offset at which each identifier begins, and the end of the last one.
        hashes: (n,) uint64 hashes, ascending.
        rows: (n,) int64 row that each hash belongs to; equal hashes have ascending rows.
    """

    text: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    rows: NDArray[np.int64]

    @classmethod
    def build(cls, columns: Iterable[IdColumn]) -> IdIndex:
        """Build the index in memory.

        Args:
            columns: Identifiers of the rows, in order.
        """
        texts, ends, hashes = [np.empty(0, np.uint8)], [np.zeros(1, np.int64)], [np.empty(0, np.uint64)]
        size = 0
        for column in columns:
            texts.append(np.asarray(column.text))
            ends.append(column.offsets[1:].astype(np.int64) + size)
            hashes.append(_hashes(column))
            size += len(column.text)
        every = np.concatenate(hashes)
        rows = np.argsort(every, kind="stable")
        return cls(np.concatenate(texts), np.concatenate(ends), every[rows], rows)

    @classmethod
    def load(cls, folder: Path) -> IdIndex | None:
        """Map the index of a job; None if it has none.

        Args:
            folder: Folder of its indexes.
        """
        try:
            return cls(*(np.load(folder / f"id_{row.name}.npy", mmap_mode="r") for row in fields(cls)))
        except (OSError, ValueError):
            return None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by the names under which :meth:`load` finds them, without the suffix of their files."""
        return {f"id_{row.name}": getattr(self, row.name) for row in fields(self)}

    def __len__(self) -> int:
        return len(self.rows)

    def id_of(self, row: int) -> str:
        """Return the identifier of a row."""
        return bytes(self.text[self.offsets[row] : self.offsets[row + 1]]).decode()

    def rows_of(self, name: str) -> NDArray[np.int64]:
        """Return all rows of an identifier in ascending order; empty if there is none.

        Args:
            name: The identifier.
        """
        wanted = name.encode()
        text = np.frombuffer(wanted, dtype=np.uint8)
        found = _hashes(IdColumn(text, np.array([0, len(text)], dtype=np.int32)))[0]
        first, last = (int(np.searchsorted(self.hashes, found, side=side)) for side in ("left", "right"))
        rows = self.rows[first:last].tolist()
        same = [row for row in rows if bytes(self.text[self.offsets[row] : self.offsets[row + 1]]) == wanted]
        return np.array(same, dtype=np.int64)


def _hashes(column: IdColumn) -> NDArray[np.uint64]:
    """Return a hash of each identifier: its bytes as the digits of a number modulo 2^64, mixed."""
    lengths = np.diff(column.offsets)
    longest = int(lengths.max(initial=0))
    powers = np.cumprod(np.full(longest + 1, _FACTOR, dtype=np.uint64))
    digits = np.arange(int(column.offsets[-1])) - np.repeat(column.offsets[:-1], lengths)
    terms = (column.text.astype(np.uint64) + np.uint64(1)) * powers[digits]
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)))
    hashes: NDArray[Any] = sums[column.offsets[1:]] - sums[column.offsets[:-1]]
    hashes ^= hashes >> np.uint64(32)
    hashes *= np.uint64(_FACTOR)
    hashes ^= hashes >> np.uint64(29)
    return hashes
