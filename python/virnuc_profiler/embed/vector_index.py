# SPDX-License-Identifier: MIT
"""Where the vectors of a finished job are in its files, so that a lookup opens no file only to find that out.

Opening a Parquet file and reading its page headers takes a millisecond or more, mapping a file 0.05 ms. 1,000 random
vectors may be in as many files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.embed.formats.select_format import make_format
from virnuc_profiler.embed.formats.shard_view import PagePlace
from virnuc_profiler.embed.job import EmbedJob
from virnuc_profiler.embed.manifest.shard_record import ShardRecord

INDEX_FILE: Final = "vector_pages.npy"


class VectorIndex:
    """The places of all vectors.

    Args:
        rows: (pages, 4) record, checksum of its file, number of vectors, and byte at which they begin, of each page.
    """

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self._rows = rows
        self._firsts = np.searchsorted(rows[:, 0], np.arange(int(rows[-1, 0]) + 2 if len(rows) else 1))

    @classmethod
    def build(cls, folder: Path, job: EmbedJob, records: Sequence[ShardRecord]) -> VectorIndex:
        """Read the places from the files.

        Args:
            folder: Folder of the job.
            job: The job.
            records: Its finished shards in the order of the file.

        Raises:
            OSError: A file cannot be read.
            ValueError: A file is not a shard's.
        """
        file_format = make_format(job.format)
        rows = [
            (number, int(record.files[0].crc32, 16), *place)
            for number, record in enumerate(records)
            for place in file_format.open(folder / record.files[0].name).places or ()
        ]
        return cls(np.array(rows, dtype=np.int64).reshape(-1, 4))

    @classmethod
    def load(cls, folder: Path) -> VectorIndex | None:
        """Map the index of a job; None if it has none.

        Args:
            folder: Folder of its indexes.
        """
        try:
            return cls(np.load(folder / INDEX_FILE, mmap_mode="r"))
        except (OSError, ValueError, IndexError):
            return None

    @property
    def rows(self) -> NDArray[np.int64]:
        """(pages, 4) the index as it is stored."""
        return self._rows

    def places(self, number: int, record: ShardRecord) -> list[PagePlace] | None:
        """Return where the vectors of a shard are in its file; None if the index does not know this file.

        Args:
            number: Number of the record in the order of the file.
            record: The record.
        """
        if number + 1 >= len(self._firsts):
            return None
        rows = self._rows[self._firsts[number] : self._firsts[number + 1]]
        if not len(rows) or int(rows[0, 1]) != int(record.files[0].crc32, 16):
            return None
        return [PagePlace(int(count), int(start)) for _, _, count, start in rows]
