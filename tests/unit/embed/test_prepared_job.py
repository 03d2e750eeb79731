# SPDX-License-Identifier: MIT
"""What several ranks find out about a job before they continue it."""

import pytest

from tests.support.embed_job import job_of, run_job, write_fasta
from virnuc_profiler.embed.manifest.manifest_files import read_manifests
from virnuc_profiler.embed.prepared_job import prepare_job, take_back_damaged
from virnuc_profiler.inference.sequences.fasta import FastaFile


@pytest.fixture
def prepare(tmp_path):
    path, folder = write_fasta(tmp_path / "a.fa", 60), tmp_path / "out"
    run_job(path, folder, shards=6)
    fasta = FastaFile.open(path)
    return lambda index: prepare_job(folder, job_of(fasta, weights=""), fasta, part=(index, 2))


def test_every_rank_knows_which_files_are_missing_or_cut(tmp_path, prepare):
    """A rank that believed a missing shard to be finished would check the job while another one still writes it."""
    files = [tmp_path / "out" / "vectors" / f"shard_0000{number}.parquet" for number in (1, 2)]
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-1])
    for index in (0, 1):
        assert [shard.number for shard in prepare(index).left] == [1, 2]


def test_each_rank_reads_a_part_of_the_files(tmp_path, prepare):
    file = tmp_path / "out" / "vectors" / "shard_00003.parquet"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    assert [[shard.number for shard in prepare(index).left] for index in (0, 1)] == [[], [3]]


def test_a_damaged_shard_is_taken_back_before_anything_else_can_fail(tmp_path, prepare):
    (tmp_path / "out" / "vectors" / "shard_00003.parquet").unlink()
    prepared = prepare(0)
    take_back_damaged(prepared)
    assert 3 not in read_manifests(tmp_path / "out")
