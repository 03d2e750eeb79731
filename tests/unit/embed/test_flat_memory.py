"""The memory of a job stays flat however many sequences it has."""

import gc

import psutil
import pytest
import torch

from tests.support.embed_job import HIDDEN_SIZE, WEIGHTS, TellingInfo, job_of
from virnuc_profiler.embed.prepared_job import begin_job, prepare_job
from virnuc_profiler.embed.rank_worker import RankListener, run_rank
from virnuc_profiler.embed.shard_queue import LocalQueue
from virnuc_profiler.embed.streaming import run_recorder
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.targets.knobs.configuration import Configuration

SEQUENCES, SHARDS = 300_000, 100
MB = 1 << 20


class Constant:
    """A model that takes no time."""

    num_layers, hidden_size, info = 1, HIDDEN_SIZE, TellingInfo(WEIGHTS)

    def embed_sequences(self, tokens, cu_seqlens, *more):
        return torch.ones(len(cu_seqlens) - 1, HIDDEN_SIZE)


class Memory(RankListener):
    def __init__(self):
        self.bytes = []

    def shard_done(self, shard):
        gc.collect()
        self.bytes.append(psutil.Process().memory_info().rss)


@pytest.mark.slow
def test_three_hundred_thousand_sequences(tmp_path, monkeypatch):
    """Recorded batches are 420 bytes each until their part is full; nothing else grows."""
    monkeypatch.setattr(run_recorder, "MAX_BATCHES", 3_000)
    path = tmp_path / "a.fa"
    path.write_text("".join(f">s{number}\nACDEFGHIKL\n" for number in range(SEQUENCES)))
    fasta, memory = FastaFile.open(path), Memory()
    folder = tmp_path / "out"
    folder.mkdir()
    prepared = begin_job(prepare_job(folder, job_of(fasta), fasta, num_shards=SHARDS), WEIGHTS)
    outcome = run_rank(
        prepared.job, folder, LocalQueue(prepared.left), fasta, Constant(), torch.device("cpu"),
        configuration=Configuration(num_workers=0, token_budget=300, buffer_size=2000), listener=memory,
    )  # fmt: skip
    assert outcome.sequences == SEQUENCES
    assert len(outcome.telemetry) > 3
    # The first parts fill what allocators keep; later ones must find it there.
    half = len(memory.bytes) // 2
    assert max(memory.bytes[half:]) - max(memory.bytes[:half]) < 25 * MB
