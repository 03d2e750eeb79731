# SPDX-License-Identifier: MIT
"""Ranks of a real embed job whose model sleeps in proportion to its FLOPs, so that they are like devices of known pace.

As a program, ``-m tests.support.paced_embed SETTINGS`` is one rank of it, with the settings as JSON. The ranks begin
when all of them are ready, since only their start competes for the cores of the machine. Each logs when it claimed
shards and when it computed.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from tests.support.command import wait_until
from tests.support.embed_job import TellingModel, job_of
from virnuc_profiler.analysis.model_cost import ModelShape, forward_flops
from virnuc_profiler.embed.job import begin_or_continue
from virnuc_profiler.embed.rank_job import JobRank
from virnuc_profiler.embed.rank_worker import run_rank
from virnuc_profiler.embed.shard_plan import plan_shards
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.ranks.local_launcher import run_ranks
from virnuc_profiler.ranks.rank_variables import current_rank
from virnuc_profiler.sweep.plan.workload import token_counts
from virnuc_profiler.targets.knobs.configuration import Configuration

SHAPE = ModelShape(1, 32)
LOG_FOLDER = "paced"


@dataclass(frozen=True)
class PacedJob:
    """A job of ranks of known pace."""

    fasta: str
    folder: str
    num_shards: int
    flops_per_second: float
    slowness: tuple[float, ...] = (1.0,)  # of each rank
    num_workers: int = 0

    @property
    def configuration(self):
        return Configuration(self.num_workers, prefetch_factor=1, token_budget=1024, buffer_size=200)

    @property
    def shards(self):
        return plan_shards(token_counts(FastaFile.open(Path(self.fasta))), SHAPE, self.num_shards)

    @property
    def telemetry(self):
        return sorted((Path(self.folder) / "telemetry").glob("telemetry_*.json"))

    def run(self):
        """Run all ranks to their end."""
        command = [sys.executable, "-m", "tests.support.paced_embed", json.dumps(asdict(self))]
        codes = run_ranks(command, [{"OMP_NUM_THREADS": "1"}] * len(self.slowness), say=print)
        assert codes == [0] * len(codes), codes

    def logs(self):
        """Return what each rank logged: ``claims``, pairs of time and shard, and ``batches``, of begin and end."""
        paths = sorted((Path(self.folder) / LOG_FOLDER).glob("rank_*.json"))
        return [json.loads(path.read_text()) for path in paths]


class PacedModel(TellingModel):
    """Takes as long for a batch as its FLOPs at a pace, whatever else the machine does."""

    def __init__(self, flops_per_second):
        super().__init__(hidden_size=SHAPE.hidden_size)
        self.flops_per_second = flops_per_second
        self.log = []

    def embed_sequences(self, tokens, cu_seqlens, *arguments, **options):
        began = time.monotonic()
        vectors = super().embed_sequences(tokens, cu_seqlens, *arguments, **options)
        squares = int((cu_seqlens.diff().long() ** 2).sum())
        end = began + forward_flops(len(tokens), squares, SHAPE) / self.flops_per_second
        time.sleep(max(0.0, end - time.monotonic()))
        self.log.append((began, time.monotonic(), len(cu_seqlens) - 1))
        return vectors


def run_here(settings):
    """Run one rank, and log what it did."""
    torch.set_num_threads(1)
    rank = current_rank()
    folder, fasta = Path(settings.folder), FastaFile.open(Path(settings.fasta))
    job = job_of(
        fasta, model="paced", num_layers=SHAPE.num_layers, hidden_size=SHAPE.hidden_size, format="safetensors",
        num_shards=settings.num_shards,
    )  # fmt: skip
    (folder / LOG_FOLDER).mkdir(parents=True, exist_ok=True)
    begin_or_continue(folder, job)
    model = PacedModel(settings.flops_per_second / settings.slowness[rank.index])
    with JobRank(folder, rank) as member:
        queue = member.queue(settings.shards)
        claims = _log_claims(queue)
        (folder / LOG_FOLDER / f"{rank.index}.ready").touch()
        wait_until(lambda: len(list((folder / LOG_FOLDER).glob("*.ready"))) == rank.count, within_s=300)
        run_rank(job, folder, queue, fasta, model, torch.device("cpu"), rank=member.name,
                 configuration=settings.configuration)  # fmt: skip
    path = folder / LOG_FOLDER / f"rank_{rank.index}.json"
    path.write_text(json.dumps({"claims": claims, "batches": model.log}))


def _log_claims(queue):
    claims, claim = [], queue.claim

    def logged():
        shard = claim()
        if shard is not None:
            claims.append((time.monotonic(), shard.number))
        return shard

    queue.claim = logged
    return claims


if __name__ == "__main__":
    values = json.loads(sys.argv[1])
    run_here(PacedJob(**{**values, "slowness": tuple(values["slowness"])}))
