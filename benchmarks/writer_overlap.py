# SPDX-License-Identifier: MIT
"""Measure what the overlap of writing and computing gains: what it would cost if a kill never lost more than a shard.

Three ways to write the shards of a job: in as many threads as the product has, while the next ones are computed; in one
thread, while the next one is computed; and with no overlap, where the next shard begins when the line of this one is
on the disk. Three models: one that computes nothing, one that takes about as long as writing, which shows the most that
overlap can gain, and one that takes ten times as long. Needs no GPU.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import torch
from tests.support.embed_job import job_of
from torch import Tensor

from benchmarks.embed_throughput import InstantModel
from benchmarks.report import parser, publish
from benchmarks.throughput_workloads import generate_short_workload
from virnuc_profiler.embed.prepared_job import begin_job, prepare_job
from virnuc_profiler.embed.rank_worker import run_rank
from virnuc_profiler.embed.shard_queue import LocalQueue
from virnuc_profiler.embed.streaming import shard_writer
from virnuc_profiler.embed.streaming.shard_writer import WRITERS, ShardWriter
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.targets.knobs.configuration import Configuration

HEADER: Final = ("model takes", "writing", "seconds, median", "of the product's rate")
CONFIGURATION: Final = Configuration(num_workers=0, token_budget=16_384, buffer_size=2_000)


class PausingModel(InstantModel):
    """Sleeps for each batch in proportion to its tokens, as if a device worked."""

    def __init__(self, hidden_size: int, seconds_per_token: float) -> None:
        super().__init__(hidden_size)
        self._seconds_per_token = seconds_per_token

    def embed_sequences(self, tokens: Tensor, cu_seqlens: Tensor, max_seqlen: int, *more: Any) -> Tensor:
        """Return vectors after a while."""
        time.sleep(len(tokens) * self._seconds_per_token)
        return super().embed_sequences(tokens, cu_seqlens, max_seqlen, *more)


class SteppingWriter(ShardWriter):
    """Writes a shard before the next one is computed."""

    def put(self, opened: Any) -> None:
        """Write a shard, and return when its line is on the disk."""
        super().put(opened)
        self.flush()


WAYS: Final[dict[str, dict[str, Any]]] = {
    f"{WRITERS} threads, overlapping": {},
    "1 thread, overlapping": {"WRITERS": 1},
    "no overlap": {"ShardWriter": SteppingWriter},
}


def main() -> None:
    """Print how long each way takes."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--num-sequences", type=int, default=200_000)
    options.add_argument("--hidden-size", type=int, default=320)
    options.add_argument("--shards", type=int, default=16)
    options.add_argument("--rounds", type=int, default=3)
    arguments = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fasta = FastaFile.open(generate_short_workload(folder, arguments.num_sequences))
        tokens = int(fasta.residue_counts.sum()) + 2 * len(fasta)
        figures = {"nothing": measure(fasta, folder, InstantModel(arguments.hidden_size), arguments)}
        of_ways = list(figures["nothing"].values())
        writing_s = max(of_ways[-1] - of_ways[0], 0.1 * of_ways[-1])
        for name, times in (("as long as writing", 1), ("ten times as long", 10)):
            model = PausingModel(arguments.hidden_size, times * writing_s / tokens)
            figures[name] = measure(fasta, folder, model, arguments)
    rows = [
        (name, way, f"{seconds:.2f}", f"{of_ways[next(iter(WAYS))] / seconds:.0%}")
        for name, of_ways in figures.items()
        for way, seconds in of_ways.items()
    ]
    title = f"{arguments.num_sequences:,} vectors of {arguments.hidden_size} numbers in {arguments.shards} shards"
    publish(title, HEADER, rows, figures, arguments.json)


def measure(fasta: FastaFile, folder: Path, model: Any, arguments: Any) -> dict[str, float]:
    """Return the median seconds of each way; the ways take turns, so that other load meets all of them.

    Args:
        fasta: The sequences.
        folder: Folder for the jobs.
        model: The model.
        arguments: The options.
    """
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(arguments.rounds):
        for way, changes in WAYS.items():
            with tempfile.TemporaryDirectory(dir=folder) as out:
                seconds[way].append(_run(fasta, Path(out), model, arguments, changes))
    return {way: statistics.median(values) for way, values in seconds.items()}


def _run(fasta: FastaFile, folder: Path, model: Any, arguments: Any, changes: dict[str, Any]) -> float:
    job = job_of(fasta, hidden_size=arguments.hidden_size, token_budget=CONFIGURATION.token_budget)
    prepared = begin_job(prepare_job(folder, job, fasta, num_shards=arguments.shards), "none")
    writers = {"WRITERS": changes.get("WRITERS", WRITERS)}
    writer = {"ShardWriter": changes.get("ShardWriter", ShardWriter)}
    with patch.multiple(shard_writer, **writers), patch.multiple("virnuc_profiler.embed.rank_worker", **writer):
        outcome = run_rank(
            prepared.job, folder, LocalQueue(prepared.left), fasta, model, torch.device("cpu"),
            configuration=CONFIGURATION, profile=False,
        )  # fmt: skip
    return outcome.elapsed_s


if __name__ == "__main__":
    main()
