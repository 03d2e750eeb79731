# SPDX-License-Identifier: MIT
"""What is left of a job: its shards, those that are finished, and those whose files are damaged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.embed.job import DTYPES, EmbedJob, begin_or_continue, read_job, require_same
from virnuc_profiler.embed.manifest.check_shards import damaged_shards
from virnuc_profiler.embed.manifest.manifest_files import Manifest, read_manifests
from virnuc_profiler.embed.manifest.shard_record import Retraction
from virnuc_profiler.embed.shard_plan import Shard, plan_shards, resolve_num_shards
from virnuc_profiler.inference.sequences.fasta import FastaFile


@dataclass(frozen=True, slots=True)
class PreparedJob:
    """A job that is about to run.

    Attributes:
        job: The job.
        folder: Folder of the job.
        fasta: Open file of its sequences.
        shards: All its shards, in the order of the file.
        left: Those that are not finished.
        damaged: Records of shards that were finished once and whose files are damaged.
        continued: Whether the folder held the job already.
    """

    job: EmbedJob
    folder: Path
    fasta: FastaFile
    shards: tuple[Shard, ...]
    left: tuple[Shard, ...]
    damaged: tuple[Retraction, ...]
    continued: bool

    @property
    def finished_sequences(self) -> int:
        """Number of sequences that have their vectors."""
        return self.job.num_sequences - sum(shard.num_sequences for shard in self.left)


def prepare_job(
    folder: Path,
    job: EmbedJob,
    fasta: FastaFile,
    *,
    num_shards: int | None = None,
    checksums: bool = True,
    part: tuple[int, int] = (0, 1),
) -> PreparedJob:
    """Divide a job into shards, and find out which of them are finished. Writes nothing.

    Args:
        folder: Folder of the job.
        job: The job as it was asked for, whose number of shards is not decided. Weights that are not known yet are
            an empty text.
        fasta: Open file of its sequences.
        num_shards: Number of shards; None for that of the job in the folder, or else a number that suits the file.
        checksums: Whether files of finished shards are compared with their checksums, instead of only their sizes.
        part: Number of the part of the shards whose files this process compares, and number of parts; other ranks
            compare the others.

    Raises:
        UsageError: The folder holds another job; the message names each difference.
        TelemetryFormatError: The file of the job in the folder cannot be read.
        OutputError: A manifest cannot be read.
    """
    tokens = token_counts_of(fasta, job.max_residues)
    earlier = read_job(folder)
    if num_shards is None:
        wanted = resolve_num_shards(
            tokens, job.hidden_size, job.token_budget, DTYPES[job.dtype], per_residue=job.per_residue
        )
        num_shards = wanted if earlier is None else earlier.num_shards
    job = replace(job, num_shards=min(num_shards, len(tokens)))
    if earlier is not None:
        require_same(folder, earlier, job if job.weights else replace(job, weights=earlier.weights))
    shards = plan_shards(tokens, job.shape, job.num_shards)
    records = read_manifests(folder)
    mine = [shard for shard in shards if shard.number % part[1] == part[0] % part[1]]
    damaged = damaged_shards(folder, mine, records, checksums=checksums)
    left = tuple(shard for shard in shards if shard.number not in records or shard.number in damaged)
    retractions = tuple(Retraction(records[number].key, why) for number, why in damaged.items())
    return PreparedJob(job, folder, fasta, shards, left, retractions, earlier is not None)


def begin_job(prepared: PreparedJob, weights: str, rank: str = "0") -> PreparedJob:
    """Write the file of a job, or check that it continues the one in the folder, and take back damaged shards.

    Args:
        prepared: The job.
        weights: What identifies the weights of the model that was loaded.
        rank: Name of the rank that takes back the records of damaged shards.

    Returns:
        The job with its weights.

    Raises:
        UsageError: The folder holds a job with other weights.
        OutputError: The folder cannot be written.
    """
    job = replace(prepared.job, weights=weights)
    begin_or_continue(prepared.folder, job)
    if prepared.damaged:
        with Manifest(prepared.folder, rank) as manifest:
            for retraction in prepared.damaged:
                manifest.add(retraction)
    return replace(prepared, job=job)


def left_tokens(prepared: PreparedJob) -> NDArray[np.int64]:
    """Return the tokens of each sequence that has no vector yet.

    Args:
        prepared: The job.
    """
    tokens = token_counts_of(prepared.fasta, prepared.job.max_residues)
    return np.concatenate([np.empty(0, np.int64), *(tokens[shard.start : shard.stop] for shard in prepared.left)])


def token_counts_of(fasta: FastaFile, max_residues: int) -> NDArray[np.int64]:
    """Return the tokens of each sequence of a file after truncation, BOS and EOS included.

    Args:
        fasta: The file.
        max_residues: Residues to which longer sequences are cut.
    """
    return fasta.residue_counts.clip(max=max_residues) + 2
