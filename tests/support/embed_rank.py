# SPDX-License-Identifier: MIT
"""One rank of a small embed job with a tiny random model, as a program: ``-m tests.support.embed_rank FASTA FOLDER``.

Which rank it is comes from its environment. With a number after these, it starts as many ranks. It takes as long for a
shard as `SHARD_SECONDS` says, so that a test can kill it in between.
"""

import os
import sys
import time
from pathlib import Path

import torch

from tests.support.embed_job import job_of
from virnuc_profiler.cli.options.local_ranks import end_with_launcher
from virnuc_profiler.embed.job import begin_or_continue
from virnuc_profiler.embed.rank_job import JobRank
from virnuc_profiler.embed.rank_worker import RankListener, run_rank
from virnuc_profiler.embed.shard_plan import plan_shards
from virnuc_profiler.inference.esm2.config import Architecture
from virnuc_profiler.inference.esm2.model import PackedESM2
from virnuc_profiler.inference.esm2.random_weights import fill_randomly
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.ranks.local_launcher import run_ranks
from virnuc_profiler.ranks.rank_variables import RANK_VARIABLE, current_rank
from virnuc_profiler.sweep.plan.workload import token_counts
from virnuc_profiler.targets.knobs.configuration import Configuration

TINY = Architecture(num_layers=1, hidden_size=32, attention_heads=2)
NUM_SHARDS = 24
LOG_FOLDER = "log"
WORKERS = "VIRNUC_TEST_WORKERS"
SHARD_SECONDS = "VIRNUC_TEST_SHARD_SECONDS"


class Slow(RankListener):
    """Lets a process take a while for each batch, and writes down what is done, for when it is killed."""

    def __init__(self, seconds, log):
        self._seconds = seconds
        self._log = log

    def batch_done(self, sequences, tokens):
        self.write(f"delivered {sequences}")
        time.sleep(self._seconds)

    def shard_done(self, shard):
        self.write(f"recorded {shard.num_sequences}")

    def write(self, line):
        with self._log.open("a") as file:
            file.write(f"{line}\n")


def tiny_model():
    model = PackedESM2(TINY, device=torch.device("cpu"), dtype=torch.float32, model_name="tiny")
    with torch.inference_mode(False):
        fill_randomly(model, 0)
    return model


def tiny_job(fasta, configuration, num_shards=NUM_SHARDS):
    return job_of(
        fasta, model="tiny", num_layers=TINY.num_layers, hidden_size=TINY.hidden_size, weights="random seed 0",
        format="safetensors", num_shards=num_shards, token_budget=configuration.token_budget,
        buffer_size=configuration.buffer_size,
    )  # fmt: skip


def run(fasta_path, folder, rank, *, lease_s=60.0, profile=True, num_shards=NUM_SHARDS, num_workers=0):
    """Run one rank's part of the job, and return its outcome."""
    torch.set_num_threads(1)
    configuration = Configuration(num_workers=num_workers, token_budget=2048, buffer_size=200)
    fasta = FastaFile.open(fasta_path)
    job = tiny_job(fasta, configuration, num_shards)
    folder.mkdir(parents=True, exist_ok=True)
    begin_or_continue(folder, job)
    shards = plan_shards(token_counts(fasta), TINY, num_shards)
    pause = float(os.environ.get(SHARD_SECONDS, "0"))
    batches_per_shard = max(1.0, sum(shard.tokens for shard in shards) / num_shards / 2048)
    log = folder / LOG_FOLDER / f"{os.getpid()}.log"
    log.parent.mkdir(exist_ok=True)
    listener = Slow(pause / batches_per_shard, log)
    with JobRank(folder, rank, lease_s) as member:
        outcome = run_rank(
            job, folder, member.queue(shards), fasta, tiny_model(), torch.device("cpu"), rank=member.name,
            configuration=configuration, profile=profile, listener=listener,
        )  # fmt: skip
    listener.write("ended 0")
    return outcome


def main():
    fasta, folder, *ranks = sys.argv[1:]
    if ranks and RANK_VARIABLE not in os.environ:
        command = [sys.executable, "-m", "tests.support.embed_rank", *sys.argv[1:]]
        sys.exit(any(run_ranks(command, [{}] * int(ranks[0]), say=print)))
    end_with_launcher()
    rank = current_rank()
    outcome = run(Path(fasta), Path(folder), rank, num_workers=int(os.environ.get(WORKERS, "0")))
    print(f"{rank}: {outcome.shards} shards, {outcome.sequences} sequences")


if __name__ == "__main__":
    main()
