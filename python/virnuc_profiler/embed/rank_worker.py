# SPDX-License-Identifier: MIT
"""The work of one process: claim shards, run them, write them, until none is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from virnuc_profiler.capture.profiler import BatchProfiler
from virnuc_profiler.embed.formats.select_format import make_format
from virnuc_profiler.embed.job import EmbedJob
from virnuc_profiler.embed.job_folder import remove_unfinished_files
from virnuc_profiler.embed.manifest.manifest_files import Manifest
from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.embed.shard_queue import ShardQueue
from virnuc_profiler.embed.streaming.open_shard import OpenShard
from virnuc_profiler.embed.streaming.shard_source import ShardSource
from virnuc_profiler.embed.streaming.shard_writer import ShardWriter
from virnuc_profiler.inference.loading.loader import create_async_dataloader
from virnuc_profiler.inference.packing.collator import VarlenCollator
from virnuc_profiler.inference.runner import AsyncInferenceRunner
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.inference.sequences.range_dataset import RangeDataset
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.run_result import RunResult


@dataclass(frozen=True, slots=True)
class RankOutcome:
    """What a process did for a job.

    Attributes:
        rank: Name of the rank.
        shards: Number of shards that it finished.
        sequences: Number of their sequences.
        tokens: Number of their tokens.
        elapsed_s: Seconds from the start of the loader to the last manifest line.
        run: The profiled run; None if it did not profile.
    """

    rank: str
    shards: int
    sequences: int
    tokens: int
    elapsed_s: float
    run: RunResult | None


def run_rank(
    job: EmbedJob,
    folder: Path,
    queue: ShardQueue,
    fasta: FastaFile,
    model: Any,
    device: torch.device,
    *,
    rank: str = "0",
    configuration: Configuration,
    on_batch: Callable[[int, int], None] | None = None,
    on_shard: Callable[[Shard], None] | None = None,
    profile: bool = True,
) -> RankOutcome:
    """Run shards until the queue has none left, and return what was done.

    Args:
        job: The job, whose file is in its folder.
        folder: Folder of the job.
        queue: Where shards are claimed.
        fasta: Open file of the sequences.
        model: A model as ``load_esm2_model`` returns it.
        device: Device of the model.
        rank: Name of this rank, which no other living process of the job has.
        configuration: Values of the knobs.
        on_batch: Called after each batch with the sequences and tokens that are done in all.
        on_shard: Called in a thread after each shard that was written and recorded.
        profile: Whether to profile the run.

    Raises:
        OutputError: A file cannot be written; what was finished before stays.
        WorkloadError: The sequences cannot be read, or were changed.
    """
    remove_unfinished_files(folder, rank)
    profiler = BatchProfiler(device=device, run_id=f"embed_rank_{rank}") if profile else None
    finished: list[Shard] = []

    def finish(shard: Shard) -> None:
        queue.finished(shard)
        finished.append(shard)
        if on_shard is not None:
            on_shard(shard)

    started = time.monotonic()
    source = ShardSource(queue)
    collator = VarlenCollator(max_sequence_length=job.max_residues, **configuration.arguments("collator"))
    loader = create_async_dataloader(
        RangeDataset(fasta, max_sequence_length=job.max_residues),
        collator,
        pin_memory=device.type == "cuda",
        keys=source,
        **configuration.arguments("loader"),
    )
    with Manifest(folder, rank) as manifest:
        file_format = make_format(job.format, job.to_json())
        writer = ShardWriter(folder, manifest, rank, file_format, fasta, job.max_residues, finish, queue.holds)
        try:
            if profiler is not None:
                profiler.start()
            with loader, AsyncInferenceRunner(model, device, profiler=profiler) as runner:
                while True:
                    _run_claimed(job, runner, loader, source, writer, queue, fasta, on_batch)
                    writer.flush()  # a rank that waits for others must not keep a shard that it cannot write
                    if not queue.wait():
                        break
        finally:
            writer.close()
            run = profiler.stop() if profiler is not None else None
        writer.require_working()
    return RankOutcome(
        rank,
        len(finished),
        sum(shard.num_sequences for shard in finished),
        sum(shard.tokens for shard in finished),
        time.monotonic() - started,
        run,
    )


def _run_claimed(
    job: EmbedJob,
    runner: AsyncInferenceRunner,
    loader: Any,
    source: ShardSource,
    writer: ShardWriter,
    queue: ShardQueue,
    fasta: FastaFile,
    on_batch: Callable[[int, int], None] | None,
) -> None:
    opened: OpenShard | None = None
    sequences = tokens = 0
    for result in runner.run(loader):
        writer.require_working()
        if opened is None:
            opened = OpenShard(source.claimed[0], job.hidden_size, job.dtype)
        opened.add(result)
        if on_batch is not None:
            sequences += len(result.positions)
            tokens += int(fasta.residue_counts[result.positions].clip(max=job.max_residues).sum()) + 2 * len(
                result.positions
            )
            on_batch(sequences, tokens)
        if opened.complete:
            source.claimed.popleft()
            writer.put(opened)
            opened = None
        queue.heartbeat()
