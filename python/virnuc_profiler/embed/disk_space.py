# SPDX-License-Identifier: MIT
"""How much disk a job needs, and whether it is there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from virnuc_profiler.embed.job import DTYPES, EmbedJob
from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.errors import OutputError
from virnuc_profiler.telemetry.number_text import counted

ROW_BYTES: Final = 64
"""Bytes of a sequence besides its vector: identifier, position, length, its part of the index and of the telemetry."""


@dataclass(frozen=True, slots=True)
class DiskNeed:
    """What the shards that are left need.

    Attributes:
        sequences: Number of their sequences.
        bytes: Bytes of their files.
        free_bytes: Bytes that this user can write in the folder.
        text: The estimate in a sentence.
    """

    sequences: int
    bytes: int
    free_bytes: int
    text: str


def disk_need(job: EmbedJob, folder: Path, shards: Iterable[Shard]) -> DiskNeed:
    """Estimate what shards need, and read what is free.

    Args:
        job: The job.
        folder: Folder of the job, which exists.
        shards: Shards that are not finished.

    Raises:
        OutputError: The folder cannot be read.
    """
    left = list(shards)
    sequences = sum(shard.num_sequences for shard in left)
    vector_bytes = DTYPES[job.dtype] * job.hidden_size
    size = sequences * (vector_bytes + ROW_BYTES)
    of = f"{counted(sequences, 'vector')} of {job.hidden_size:,} numbers"
    if job.per_residue:
        tokens = sum(shard.tokens for shard in left)
        size += tokens * vector_bytes
        of += f" and {tokens - 2 * sequences:,} of residues"
    try:
        status = os.statvfs(folder)
    except OSError as error:
        raise OutputError(f"cannot read the free space of {folder}: {error.strerror or error}") from error
    free = status.f_bavail * status.f_frsize
    return DiskNeed(sequences, size, free, f"{_amount(size)} for {of} in {job.dtype}, {_amount(free)} free")


def require_space(need: DiskNeed, job: EmbedJob, folder: Path) -> None:
    """Refuse a job that does not fit the disk.

    Args:
        need: What it needs.
        job: The job.
        folder: Folder of the job.

    Raises:
        OutputError: It does not fit; the message names the ways out.
    """
    if need.bytes <= need.free_bytes:
        return
    half = "" if job.dtype == "fp16" else ", take half with --dtype fp16 in a new folder,"
    raise OutputError(f"{folder} needs {need.text}: free some space{half} or choose another --output-dir")


def _amount(size: int) -> str:
    return f"{size / 1e9:,.2f} GB" if size >= 1e8 else f"{size / 1e6:,.2f} MB"
