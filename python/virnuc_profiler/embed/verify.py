# SPDX-License-Identifier: MIT
"""The check at the end of a job: every sequence once, counted from the shards' files and not from the manifests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.embed.formats.select_format import ShardFormat, make_format
from virnuc_profiler.embed.job import EmbedJob
from virnuc_profiler.embed.job_folder import VECTORS_FOLDER
from virnuc_profiler.telemetry.number_text import counted


@dataclass(frozen=True, slots=True)
class Verification:
    """What the files of a job hold.

    Attributes:
        files: Number of files.
        once: Number of sequences that occur once.
        missing: (n,) positions of sequences that do not occur.
        repeated: (n,) positions of sequences that occur more than once.
        unreadable: Files that cannot be read, with the reason.
    """

    files: int
    once: int
    missing: NDArray[np.int64]
    repeated: NDArray[np.int64]
    unreadable: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every sequence occurs once, and every file can be read."""
        return not (len(self.missing) or len(self.repeated) or self.unreadable)

    def sentence(self) -> str:
        """Return what was found, in a sentence."""
        if self.complete:
            return f"every sequence once: {self.once:,} counted in {counted(self.files, 'file')}"
        parts = []
        for positions, one, many in (
            (self.missing, "sequence is missing", "sequences are missing"),
            (self.repeated, "sequence occurs twice", "sequences occur twice"),
        ):
            if len(positions):
                parts.append(f"{counted(len(positions), one, many)} (the first at position {positions[0]:,})")
        if self.unreadable:
            parts.append(f"{counted(len(self.unreadable), 'file')} cannot be read (the first: {self.unreadable[0]})")
        return "; ".join(parts)


def verify_job(folder: Path, job: EmbedJob) -> Verification:
    """Count each position in the files of a job.

    Args:
        folder: Folder of the job.
        job: The job.

    Raises:
        LibraryUnavailable: The package that reads the files is missing.
    """
    file_format = make_format(job.format)
    counts = np.zeros(job.num_sequences, dtype=np.uint8)
    unreadable = []
    paths = sorted((folder / VECTORS_FOLDER).glob(f"shard_*.{file_format.suffix}"))
    for path, found in ((path, _positions(file_format, path)) for path in paths):
        if isinstance(found, str):
            unreadable.append(f"{path.name}: {found}")
        else:
            np.add.at(counts, found[(found >= 0) & (found < job.num_sequences)], 1)
    return Verification(
        len(paths), int((counts == 1).sum()), np.flatnonzero(counts == 0), np.flatnonzero(counts > 1), tuple(unreadable)
    )


def _positions(file_format: ShardFormat, path: Path) -> NDArray[np.int64] | str:
    """Return the positions of a file's rows, or why they cannot be read."""
    try:
        return file_format.open(path).positions
    except (OSError, ValueError, KeyError) as error:  # pyarrow's own errors are ValueErrors and OSErrors
        return str(error)
