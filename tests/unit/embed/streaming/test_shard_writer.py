# SPDX-License-Identifier: MIT
"""A process that stood still neither replaces nor records a shard that another one has taken over meanwhile."""

import pytest
import torch

from tests.support.embed_job import CONFIGURATION, TellingModel, job_of, write_fasta
from virnuc_profiler.embed.manifest.manifest_files import read_manifests
from virnuc_profiler.embed.prepared_job import begin_job, prepare_job
from virnuc_profiler.embed.rank_worker import run_rank
from virnuc_profiler.embed.shard_queue import LocalQueue
from virnuc_profiler.inference.sequences.fasta import FastaFile


class LostQueue(LocalQueue):
    """Loses shard 1 to another process when it is asked for the n-th time."""

    def __init__(self, shards, lost_at):
        super().__init__(shards)
        self.answers = lost_at

    def holds(self, shard):
        if shard.number != 1:
            return True
        self.answers -= 1
        return self.answers > 0


@pytest.mark.parametrize("lost_at", [1, 2])
def test_a_lost_shard_is_neither_replaced_nor_recorded(tmp_path, lost_at):
    path = run(tmp_path, lost_at)
    assert sorted(read_manifests(tmp_path)) == [0, 2]
    assert path.read_bytes() == b"of the other process"
    assert list(path.parent.glob(".*")) == []


def test_a_shard_that_is_lost_while_it_is_renamed_is_not_recorded(tmp_path):
    run(tmp_path, 3)
    assert sorted(read_manifests(tmp_path)) == [0, 2]


def run(folder, lost_at):
    fasta = FastaFile.open(write_fasta(folder / "a.fa", 30))
    job = job_of(fasta)
    prepared = begin_job(prepare_job(folder, job, fasta, num_shards=3), job.weights)
    path = folder / "vectors" / "shard_00001.parquet"
    path.parent.mkdir()
    path.write_bytes(b"of the other process")
    run_rank(
        prepared.job, folder, LostQueue(prepared.left, lost_at), fasta, TellingModel(), torch.device("cpu"),
        configuration=CONFIGURATION, profile=False,
    )  # fmt: skip
    return path
