# SPDX-License-Identifier: MIT
"""One rank's part of a job, shared with the other ranks through the folder of the job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from virnuc_profiler.embed.claimed_shards import CLAIMS_FOLDER, ClaimedShards, unique_name
from virnuc_profiler.embed.job import EmbedJob
from virnuc_profiler.embed.rank_worker import RankListener, RankOutcome, run_rank
from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.inference.esm2.precision_check import MIN_COSINE
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.ranks.claim_folder import LEASE_S, ClaimFolder
from virnuc_profiler.ranks.rank import Rank
from virnuc_profiler.targets.knobs.configuration import Configuration


def run_part(
    job: EmbedJob,
    folder: Path,
    shards: tuple[Shard, ...],
    fasta: FastaFile,
    model: Any,
    device: torch.device,
    rank: Rank,
    *,
    configuration: Configuration,
    listener: RankListener | None = None,
    profile: bool = True,
    min_cosine: float = MIN_COSINE,
    lease_s: float = LEASE_S,
) -> RankOutcome:
    """Run shards until every shard of the job is finished, by this process or by another one, and return what was done.

    Args:
        job: The job, whose file is in its folder.
        folder: Folder of the job, which all its ranks see.
        shards: All shards of the job.
        fasta: Open file of the sequences.
        model: A model as ``load_esm2_model`` returns it.
        device: Device of the model.
        rank: Which rank this process is.
        configuration: Values of the knobs.
        listener: Is told how far this process is; None for nobody.
        profile: Whether to profile the run.
        min_cosine: Lowest cosine similarity that a model in FP8 must reach.
        lease_s: Seconds without a sign of life after which a rank loses its shards to others.

    Raises:
        OutputError: A file cannot be written; what was finished before stays.
        WorkloadError: The sequences cannot be read, or were changed.
        KeyboardInterrupt: Ctrl-C; it is passed on once complete shards are written.
    """
    with ClaimFolder(folder / CLAIMS_FOLDER, rank, lease_s) as claims:
        return run_rank(
            job,
            folder,
            ClaimedShards(folder, claims, shards, rank),
            fasta,
            model,
            device,
            rank=unique_name(claims, rank),
            configuration=configuration,
            listener=listener,
            profile=profile,
            min_cosine=min_cosine,
        )
