# SPDX-License-Identifier: MIT
"""The work of one process: claim shards, run them, write them, until none is left."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from virnuc_profiler.embed.formats.select_format import make_format
from virnuc_profiler.embed.job import EmbedJob
from virnuc_profiler.embed.job_folder import remove_unfinished_files
from virnuc_profiler.embed.manifest.manifest_files import Manifest
from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.embed.shard_queue import ShardQueue
from virnuc_profiler.embed.streaming.open_shard import OpenShard
from virnuc_profiler.embed.streaming.residue_model import ResidueModel
from virnuc_profiler.embed.streaming.run_recorder import RunRecorder
from virnuc_profiler.embed.streaming.shard_source import ShardSource
from virnuc_profiler.embed.streaming.shard_writer import ShardWriter
from virnuc_profiler.errors import VirnucError
from virnuc_profiler.inference.esm2.precision_check import MIN_COSINE
from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.inference.loading.loader import create_async_dataloader
from virnuc_profiler.inference.packing.collator import VarlenCollator
from virnuc_profiler.inference.runner import AsyncInferenceRunner
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.inference.sequences.range_dataset import RangeDataset
from virnuc_profiler.sweep.machine.device_memory import DeviceMemory
from virnuc_profiler.sweep.results.folder_lock import FolderLock
from virnuc_profiler.sweep.trial.provenance import (
    machine_description,
    model_description,
    software_versions,
    workload_description,
)
from virnuc_profiler.sweep.trial.run_files import model_shape
from virnuc_profiler.targets.knobs.configuration import Configuration


@dataclass(frozen=True, slots=True)
class RankOutcome:
    """What a process did for a job.

    Attributes:
        rank: Name of the rank.
        shards: Number of shards that it finished.
        sequences: Number of their sequences.
        tokens: Number of their tokens.
        non_finite: Number of their vectors that contain NaN or infinity.
        elapsed_s: Seconds from the start of the loader to the last manifest line.
        waited_s: Seconds in which no batch was launched because all writers were busy.
        telemetry: Telemetry files of the parts of the run, with the saved run beside each; empty if it was not
            profiled or they could not be written.
    """

    rank: str
    shards: int
    sequences: int
    tokens: int
    non_finite: int
    elapsed_s: float
    waited_s: float
    telemetry: tuple[Path, ...]


class RankListener:
    """Receives the progress of a process. The methods do nothing; subclasses override what they need."""

    def batch_done(self, sequences: int, tokens: int) -> None:
        """Note that a batch was delivered; called by the thread that runs the batches.

        Args:
            sequences: Sequences that were delivered in all.
            tokens: Tokens that were delivered in all.
        """

    def shard_done(self, shard: Shard) -> None:
        """Note that a shard is written and recorded; called by a thread that writes.

        Args:
            shard: The shard.
        """


def run_rank(
    job: EmbedJob,
    folder: Path,
    queue: ShardQueue,
    fasta: FastaFile,
    model: Any,
    device: torch.device,
    *,
    configuration: Configuration,
    rank: str = "0",
    listener: RankListener | None = None,
    profile: bool = True,
    min_cosine: float = MIN_COSINE,
    predicted_s: tuple[float, float, float] | None = None,
) -> RankOutcome:
    """Run shards until the queue has none left, and return what was done.

    Args:
        job: The job, whose file is in its folder.
        folder: Folder of the job.
        queue: Where shards are claimed.
        fasta: Open file of the sequences.
        model: A model as ``load_esm2_model`` returns it.
        device: Device of the model.
        configuration: Values of the knobs.
        rank: Name of this rank, which no other living process of the job has.
        listener: Receiver of the progress; None for no receiver.
        profile: Whether to profile the run.
        min_cosine: Lowest cosine similarity that a model in FP8 must reach.
        predicted_s: Predicted seconds with the ends of their interval around them, for the telemetry; None if nothing
            was predicted.

    Raises:
        OutputError: A file cannot be written, or another process of this name runs; finished shards stay.
        WorkloadError: The sequences cannot be read, or were changed.
        KeyboardInterrupt: Ctrl-C; it is passed on once complete shards are written.
    """
    with FolderLock(folder, "embed", f"rank_{rank}.lock", warn=False):  # claims keep the ranks of other hosts apart
        remove_unfinished_files(folder, rank)
        with Manifest(folder, rank) as manifest:
            rank_run = _RankRun(
                job=job,
                folder=folder,
                queue=queue,
                fasta=fasta,
                model=model,
                device=device,
                configuration=configuration,
                rank=rank,
                listener=listener or RankListener(),
                recorder=RunRecorder(folder, rank, device, model_shape(model)) if profile else None,
                predicted_s=predicted_s,
                source=ShardSource(queue, configuration.num_workers * configuration.prefetch_factor),
            )
            return rank_run.run(manifest, min_cosine)


@dataclass(slots=True)
class _RankRun:
    """The work of a process, from its arguments to its outcome; see :func:`run_rank` for the first ones."""

    job: EmbedJob
    folder: Path
    queue: ShardQueue
    fasta: FastaFile
    model: Any
    device: torch.device
    configuration: Configuration
    rank: str
    listener: RankListener
    recorder: RunRecorder | None
    predicted_s: tuple[float, float, float] | None
    source: ShardSource
    opened: OpenShard | None = None  # the shard whose results are arriving
    part: list[Shard] = field(default_factory=list)  # shards of the current part of the profile
    finished: list[Shard] = field(default_factory=list)
    non_finite: int = 0
    sequences: int = 0
    tokens: int = 0
    waited_s: float = 0.0

    def run(self, manifest: Manifest, min_cosine: float) -> RankOutcome:
        """Run everything, and write the telemetry of what ran whatever happens."""
        started = time.monotonic()
        job = self.job
        about = job.to_json() | {"versions": software_versions()}
        file_format = make_format(job.format, about)
        writer = ShardWriter(
            self.folder,
            manifest,
            self.rank,
            file_format,
            about,
            self.fasta,
            job.max_residues,
            self._finish,
            self.queue.holds,
        )
        failure: BaseException | None = None
        ended = started
        try:
            self._run_shards(writer, min_cosine)
            writer.close()
            writer.require_working()
        except BaseException as error:
            failure = error
            raise
        finally:
            with deferred_interrupts():
                writer.close()
                ended = time.monotonic()
                self.waited_s = writer.waited_s
                self._end_part(failure)
                if self.recorder is not None:
                    self.recorder.join()
        return RankOutcome(
            self.rank,
            len(self.finished),
            sum(shard.num_sequences for shard in self.finished),
            sum(shard.tokens for shard in self.finished),
            self.non_finite,
            ended - started,
            self.waited_s,
            () if self.recorder is None else tuple(self.recorder.paths),
        )

    def _run_shards(self, writer: ShardWriter, min_cosine: float) -> None:
        loader = create_async_dataloader(
            RangeDataset(self.fasta, max_sequence_length=self.job.max_residues),
            VarlenCollator(max_sequence_length=self.job.max_residues, **self.configuration.arguments("collator")),
            pin_memory=self.device.type == "cuda",
            keys=self.source,
            **self.configuration.arguments("loader"),
        )
        profiler = None if self.recorder is None else self.recorder.profiler
        model: Any = ResidueModel(self.model) if self.job.per_residue else self.model
        runner = AsyncInferenceRunner(model, self.device, profiler=profiler, min_cosine=min_cosine)
        with loader, runner:
            more = True
            while more:
                if self.recorder is not None and not self.recorder.running:
                    self.recorder.begin_part()
                self._run_claimed(runner, loader, writer)
                self.waited_s = writer.waited_s
                if self.source.closed:  # a part of the profile is full
                    self._end_part(None)
                else:
                    writer.flush()  # a rank that waits for others must not keep a shard that it cannot write
                    more = self.queue.wait()

    def _run_claimed(self, runner: AsyncInferenceRunner, loader: Any, writer: ShardWriter) -> None:
        """Run shards until none can be claimed, or the profile's part is full."""
        residues, max_residues = self.fasta.residue_counts, self.job.max_residues
        for batches, result in enumerate(runner.run(loader), 1):
            writer.require_working()
            opened = self.opened
            if opened is None:
                shard = self.source.claimed[0]
                kept = residues[shard.start : shard.stop].clip(max=max_residues) if self.job.per_residue else None
                opened = self.opened = OpenShard(shard, self.job.hidden_size, self.job.dtype, kept)
                self.part.append(shard)
            opened.add(result)
            count = len(result.positions)
            self.sequences += count
            self.tokens += int(residues[result.positions].clip(max=max_residues).sum()) + 2 * count
            if opened.complete:
                self.source.claimed.popleft()
                self.non_finite += opened.non_finite
                self.opened = None
                writer.put(opened)
            self.listener.batch_done(self.sequences, self.tokens)
            self.queue.heartbeat()
            if self.recorder is not None and self.recorder.is_full(batches):
                self.source.close()
            del opened, result  # the next batch is waited for without holding this one's memory

    def _finish(self, shard: Shard) -> None:
        self.queue.finished(shard)
        self.finished.append(shard)
        self.listener.shard_done(shard)

    def _end_part(self, failure: BaseException | None) -> None:
        if self.recorder is not None and self.recorder.running:
            self.recorder.end_part(self._metadata(failure))
        self.part = []
        self.source.reopen()

    def _metadata(self, failure: BaseException | None) -> dict[str, Any]:
        """Return what the files of a part say of it."""
        status = "success" if failure is None else "failed" if isinstance(failure, Exception) else "interrupted"
        ranges = [np.arange(shard.start, shard.stop) for shard in self.part]
        positions = np.concatenate(ranges) if ranges else np.empty(0, dtype=np.int64)
        message = str(failure) if isinstance(failure, VirnucError) else repr(failure)
        return {
            "status": status,
            "failure": None if failure is None else {"reason": status, "message": message},
            "config": self.configuration.to_json(),
            "passes": 1,
            **model_description(self.model),
            "workload": workload_description(self.fasta, self.job.fingerprint, positions, None),
            "peak_memory_gb": DeviceMemory(self.device).peak_gb(),
            "hardware": machine_description(),
            "versions": software_versions(),
            "embed": {
                "rank": self.rank,
                "shards": [shard.number for shard in self.part],
                "predicted_seconds": self.predicted_s,
                "waited_for_writers_seconds": self.waited_s,
                "job": self.job.to_json(),
            },
        }
