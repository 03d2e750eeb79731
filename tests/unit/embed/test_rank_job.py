# SPDX-License-Identifier: MIT
"""What a process does as one of the ranks of a job."""

import os

import pytest

from tests.support.embed_job import TellingModel, expected_vectors, job_of, run_job, write_fasta
from virnuc_profiler.embed.job import begin_or_continue, read_job
from virnuc_profiler.embed.manifest.manifest_files import read_manifests
from virnuc_profiler.embed.rank_job import JobRank
from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.ranks.rank import Rank


def member(folder, index=0, count=2):
    return JobRank(folder, Rank(index=index, count=count))


def test_one_of_several_ranks_checks_a_job(tmp_path):
    with member(tmp_path, 0) as one, member(tmp_path, 1) as other:
        assert one.checks()
        assert not other.checks(), "another process checks it"
        one.note_check()
        one.close(complete=True)
        assert not other.checks(), "another process has checked it"


def test_a_rank_checks_what_another_one_did_not_finish_to_check(tmp_path):
    with member(tmp_path, 0) as one, member(tmp_path, 1) as other:
        assert one.checks()
        one.close()
        assert other.checks()


def test_the_next_start_of_a_job_checks_it_again(tmp_path):
    with member(tmp_path, 0) as one:
        assert one.checks()
        one.note_check()
    os.utime(tmp_path / "claims" / "checked", (1, 1))
    with member(tmp_path, 0) as one:
        assert one.checks()


def test_a_process_that_is_alone_leaves_no_claims_of_a_complete_job(tmp_path):
    with member(tmp_path, 0, 1) as alone:
        assert alone.name == "0"
        alone.close(complete=True)
        assert not (tmp_path / "claims").exists()


def test_two_processes_on_one_gpu_are_noticed(tmp_path):
    with member(tmp_path, 0) as one, member(tmp_path, 1) as other:
        assert one.has_device("GPU-a")
        assert not other.has_device("GPU-a")
        assert other.has_device("GPU-b")


def test_the_first_of_several_ranks_writes_the_file_of_the_job(tmp_path, monkeypatch):
    fasta = FastaFile.open(write_fasta(tmp_path / "few.faa", 5))
    first, second = (job_of(fasta, num_shards=2, token_budget=budget) for budget in (100, 200))
    monkeypatch.setattr("virnuc_profiler.embed.job._written_first", _after(tmp_path, first))
    assert begin_or_continue(tmp_path, second) is True
    assert read_job(tmp_path) == first
    assert [path.name for path in tmp_path.glob("*job*")] == ["job.json"]


def test_a_rank_with_another_job_than_the_first_one_is_refused(tmp_path, monkeypatch):
    fasta = FastaFile.open(write_fasta(tmp_path / "few.faa", 5))
    monkeypatch.setattr("virnuc_profiler.embed.job._written_first", _after(tmp_path, job_of(fasta, num_shards=2)))
    with pytest.raises(UsageError, match="the precision was 'fp32' and is now 'bf16'"):
        begin_or_continue(tmp_path, job_of(fasta, num_shards=2, precision="bf16"))


def _after(folder, job):
    """Return the function that writes a job's file, but after another rank has written one."""
    from virnuc_profiler.embed.job import _written_first

    def write(path, asked):
        assert _written_first(folder / "job.json", job)
        return _written_first(path, asked)

    return write


def test_what_a_rank_has_lost_it_does_not_write(tmp_path, monkeypatch, caplog):
    path, folder = write_fasta(tmp_path / "few.faa", 100), tmp_path / "out"
    lost = {2, 5}
    queue_holds = "virnuc_profiler.embed.shard_queue.LocalQueue.holds"
    monkeypatch.setattr(queue_holds, lambda self, shard: shard.number not in lost)
    run_job(path, folder, shards=8, model=TellingModel())
    assert sorted(read_manifests(folder)) == [0, 1, 3, 4, 6, 7]
    assert "shard 2 was taken over by another rank, because this one stood still" in caplog.text
    lost.clear()
    run_job(path, folder, shards=8, model=TellingModel())
    assert sorted(read_manifests(folder)) == list(range(8))
    assert len(expected_vectors(path)) == 100
