import dataclasses

import pytest

from tests.support.embed_job import job_of, write_fasta
from virnuc_profiler.embed.disk_space import disk_need, require_space
from virnuc_profiler.embed.shard_plan import Shard
from virnuc_profiler.errors import OutputError
from virnuc_profiler.inference.sequences.fasta import FastaFile


def test_a_job_that_does_not_fit_is_refused_with_the_ways_out(tmp_path):
    job = job_of(FastaFile.open(write_fasta(tmp_path / "a.fa", 3)), num_shards=1, hidden_size=1280)
    need = disk_need(job, tmp_path, [Shard(0, 0, 10**6, 10**8, 1)])
    assert need.bytes == 10**6 * (4 * 1280 + 64)
    assert need.text.startswith("5.18 GB for 1,000,000 vectors of 1,280 numbers in fp32, ")
    require_space(dataclasses.replace(need, free_bytes=need.bytes), job, tmp_path)
    with pytest.raises(OutputError, match="free some space, take half with --dtype fp16") as refused:
        require_space(dataclasses.replace(need, free_bytes=10**9), job, tmp_path)
    assert str(tmp_path) in str(refused.value)


def test_vectors_of_residues_are_counted(tmp_path):
    job = job_of(FastaFile.open(write_fasta(tmp_path / "a.fa", 3)), num_shards=1, dtype="fp16", per_residue=True)
    need = disk_need(job, tmp_path, [Shard(0, 0, 10, 1000, 1)])
    assert need.bytes == 10 * (2 * 4 + 64) + 1000 * 2 * 4
    assert "10 vectors of 4 numbers and 980 of residues in fp16" in need.text
