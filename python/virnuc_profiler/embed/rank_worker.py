# SPDX-License-Identifier: MIT
"""The work of one process: claim shards, run them, write them, until none is left."""

from __future__ import annotations

import time
from dataclasses import dataclass
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
    """Is told how far a process is. Does nothing; subclasses override what they need."""

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
        listener: Is told how far this process is; None for nobody.
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
            worker = _RankRun(
                job, folder, queue, fasta, model, device, configuration, rank, listener, profile, predicted_s
            )
            return worker.run(manifest, min_cosine)


class _RankRun:
    """The parts of a process's work."""

    def __init__(
        self,
        job: EmbedJob,
        folder: Path,
        queue: ShardQueue,
        fasta: FastaFile,
        model: Any,
        device: torch.device,
        configuration: Configuration,
        rank: str,
        listener: RankListener | None,
        profile: bool,
        predicted_s: tuple[float, float, float] | None,
    ) -> None:
        self._job = job
        self._folder = folder
        self._queue = queue
        self._fasta = fasta
        self._model = model
        self._device = device
        self._configuration = configuration
        self._rank = rank
        self._predicted_s = predicted_s
        self._listener = listener or RankListener()
        self._recorder = RunRecorder(folder, rank, device, model_shape(model)) if profile else None
        self._source = ShardSource(queue, configuration.num_workers * configuration.prefetch_factor)
        self._memory = DeviceMemory(device)
        self._finished: list[Shard] = []
        self._non_finite = 0
        self._waited_s = 0.0
        self._sequences = self._tokens = 0
        self._part: list[Shard] = []  # shards whose results were taken in this part of the profile
        self._opened: OpenShard | None = None

    def run(self, manifest: Manifest, min_cosine: float) -> RankOutcome:
        """Run everything, and write the telemetry of what ran whatever happens."""
        started = time.monotonic()
        job = self._job
        about = job.to_json() | {"versions": software_versions()}
        file_format = make_format(job.format, about)
        writer = ShardWriter(
            self._folder,
            manifest,
            self._rank,
            file_format,
            about,
            self._fasta,
            job.max_residues,
            self._finish,
            self._queue.holds,
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
                self._waited_s = writer.waited_s
                if self._recorder is not None and self._recorder.running:
                    self._recorder.end_part(self._metadata(failure))
                    self._recorder.join()
        return RankOutcome(
            self._rank,
            len(self._finished),
            sum(shard.num_sequences for shard in self._finished),
            sum(shard.tokens for shard in self._finished),
            self._non_finite,
            ended - started,
            self._waited_s,
            () if self._recorder is None else tuple(self._recorder.paths),
        )

    def _run_shards(self, writer: ShardWriter, min_cosine: float) -> None:
        loader = create_async_dataloader(
            RangeDataset(self._fasta, max_sequence_length=self._job.max_residues),
            VarlenCollator(max_sequence_length=self._job.max_residues, **self._configuration.arguments("collator")),
            pin_memory=self._device.type == "cuda",
            keys=self._source,
            **self._configuration.arguments("loader"),
        )
        profiler = None if self._recorder is None else self._recorder.profiler
        model: Any = ResidueModel(self._model) if self._job.per_residue else self._model
        runner = AsyncInferenceRunner(model, self._device, profiler=profiler, min_cosine=min_cosine)
        with loader, runner:
            more = True
            while more:
                if self._recorder is not None and not self._recorder.running:
                    self._recorder.begin_part()
                self._run_claimed(runner, loader, writer)
                if self._source.closed:  # a part of the profile is full
                    self._end_part(None)
                else:
                    writer.flush()  # a rank that waits for others must not keep a shard that it cannot write
                    more = self._queue.wait()

    def _run_claimed(self, runner: AsyncInferenceRunner, loader: Any, writer: ShardWriter) -> None:
        """Run shards until none can be claimed, or the profile's part is full."""
        residues, max_residues = self._fasta.residue_counts, self._job.max_residues
        for batches, result in enumerate(runner.run(loader), 1):
            writer.require_working()
            opened = self._opened
            if opened is None:
                shard = self._source.claimed[0]
                kept = residues[shard.start : shard.stop].clip(max=max_residues) if self._job.per_residue else None
                opened = self._opened = OpenShard(shard, self._job.hidden_size, self._job.dtype, kept)
                self._part.append(shard)
            opened.add(result)
            count = len(result.positions)
            self._sequences += count
            self._tokens += int(residues[result.positions].clip(max=max_residues).sum()) + 2 * count
            if opened.complete:
                self._source.claimed.popleft()
                self._non_finite += opened.non_finite
                self._opened = None
                writer.put(opened)
            self._listener.batch_done(self._sequences, self._tokens)
            self._queue.heartbeat()
            if self._recorder is not None and self._recorder.is_full(batches):
                self._source.close()
            del opened, result  # the next batch is waited for without holding this one's memory

    def _finish(self, shard: Shard) -> None:
        self._queue.finished(shard)
        self._finished.append(shard)
        self._listener.shard_done(shard)

    def _end_part(self, failure: BaseException | None) -> None:
        if self._recorder is not None:
            self._recorder.end_part(self._metadata(failure))
        self._part = []
        self._source.reopen()

    def _metadata(self, failure: BaseException | None) -> dict[str, Any]:
        """Return what the files of a part say of it."""
        status = "success" if failure is None else "failed" if isinstance(failure, Exception) else "interrupted"
        ranges = [np.arange(shard.start, shard.stop) for shard in self._part]
        positions = np.concatenate(ranges) if ranges else np.empty(0, dtype=np.int64)
        message = str(failure) if isinstance(failure, VirnucError) else repr(failure)
        return {
            "status": status,
            "failure": None if failure is None else {"reason": status, "message": message},
            "config": self._configuration.to_json(),
            "passes": 1,
            **model_description(self._model),
            "workload": workload_description(self._fasta, self._job.fingerprint, positions, None),
            "peak_memory_gb": self._memory.peak_gb(),
            "hardware": machine_description(),
            "versions": software_versions(),
            "embed": {
                "rank": self._rank,
                "shards": [shard.number for shard in self._part],
                "predicted_seconds": self._predicted_s,
                "waited_for_writers_seconds": self._waited_s,
                "job": self._job.to_json(),
            },
        }
