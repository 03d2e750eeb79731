# SPDX-License-Identifier: MIT
"""Ranks of every launcher do one job together: the vectors of one process, each once."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.support.command import wait_until
from tests.support.embed_outputs import finished_shards, shards_by_rank, vectors_of
from tests.support.embed_rank import NUM_SHARDS, SHARD_SECONDS
from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler.ranks.local_launcher import run_ranks

pytestmark = pytest.mark.slow

PROGRAM = ("-m", "tests.support.embed_rank")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    return write_fasta(tmp_path_factory.mktemp("sequences") / "two_thousand.faa", random_records(2000, longest=60))


@pytest.fixture(scope="module")
def expected(fasta, tmp_path_factory):
    """The vectors of one process."""
    folder = tmp_path_factory.mktemp("one")
    subprocess.run([sys.executable, *PROGRAM, fasta, folder], check=True, timeout=120)
    assert finished_shards(folder) == list(range(NUM_SHARDS))
    return vectors_of(folder)


def start(fasta, folder, environment, seconds_per_shard=0.0):
    variables = {**os.environ, **environment, SHARD_SECONDS: str(seconds_per_shard)}
    return subprocess.Popen([sys.executable, *PROGRAM, fasta, folder], env=variables)


def require_whole(folder, expected, ranks):
    assert finished_shards(folder) == list(range(NUM_SHARDS)), "each shard once"
    np.testing.assert_array_equal(vectors_of(folder), expected)
    assert len(shards_by_rank(folder)) == ranks, "each rank has a manifest of its own"
    assert len(list(folder.glob("run_*.json"))) == ranks, "each rank has a run of its own"


@pytest.mark.parametrize("ranks", [2, 4])
def test_torchrun(fasta, expected, tmp_path, ranks):
    command = [*TORCHRUN, str(ranks), *PROGRAM, fasta, tmp_path]
    subprocess.run(command, check=True, timeout=240, env={**os.environ, SHARD_SECONDS: "0.1"})
    require_whole(tmp_path, expected, ranks)


def srun(rank, ranks):
    return {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": str(rank), "SLURM_NTASKS": str(ranks),
            "SLURM_LOCALID": str(rank), "SLURM_STEP_TASKS_PER_NODE": str(ranks)}  # fmt: skip


def array_task(rank, ranks):
    return {"SLURM_JOB_ID": str(7 + rank), "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(3 + 2 * rank),
            "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_MAX": str(1 + 2 * ranks),
            "SLURM_ARRAY_TASK_COUNT": str(ranks)}  # fmt: skip


@pytest.mark.parametrize("variables", [srun, array_task])
def test_slurm(fasta, expected, tmp_path, variables):
    processes = [start(fasta, tmp_path, variables(rank, 3), 0.1) for rank in range(3)]
    assert [process.wait(timeout=240) for process in processes] == [0, 0, 0]
    require_whole(tmp_path, expected, 3)


def test_tasks_of_an_array_need_not_run_at_the_same_time(fasta, expected, tmp_path):
    for rank in range(2):
        assert start(fasta, tmp_path, array_task(rank, 2)).wait(timeout=120) == 0
    assert finished_shards(tmp_path) == list(range(NUM_SHARDS))
    np.testing.assert_array_equal(vectors_of(tmp_path), expected)


def test_processes_of_our_own_launcher(fasta, expected, tmp_path, capfd):
    command = [sys.executable, *PROGRAM, str(fasta), str(tmp_path)]
    assert run_ranks(command, [{SHARD_SECONDS: "0.1"}] * 3, say=print) == [0, 0, 0]
    require_whole(tmp_path, expected, 3)
    lines = capfd.readouterr().out.splitlines()
    assert sorted(line.partition("]")[0] for line in lines) == ["[rank 0", "[rank 1", "[rank 2"]


def test_a_second_start_of_the_command_helps_the_first_one(fasta, expected, tmp_path):
    processes = [start(fasta, tmp_path, {}, 0.1) for _ in range(2)]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]
    require_whole(tmp_path, expected, 2)


def test_another_rank_takes_over_from_one_that_was_killed(fasta, expected, tmp_path):
    lost, other = (start(fasta, tmp_path, srun(rank, 2), 0.3) for rank in range(2))
    wait_until(lambda: len(shards_by_rank(tmp_path).get("rank_0of2", ())) >= 2)
    done = shards_by_rank(tmp_path)["rank_0of2"]
    lost.kill()
    lost.wait()
    assert other.wait(timeout=240) == 0
    shards = shards_by_rank(tmp_path)
    assert set(done) <= set(shards["rank_0of2"])
    assert finished_shards(tmp_path) == list(range(NUM_SHARDS))
    np.testing.assert_array_equal(vectors_of(tmp_path), expected)


def test_kills_at_random_moments_cost_at_most_a_shard_for_each_rank(fasta, expected, tmp_path):
    source = random.Random(5)
    finished = []
    for _ in range(4):
        processes = [start(fasta, tmp_path, srun(rank, 2), 0.15) for rank in range(2)]
        wait_until(lambda: len(shards_by_rank(tmp_path)) and finished_shards(tmp_path) != finished)
        time.sleep(source.uniform(0, 0.5))
        for process in source.sample(processes, source.choice((1, 2))):
            process.send_signal(signal.SIGKILL)
        if source.random() < 0.5:
            for process in processes:
                process.kill()
        for process in processes:
            process.wait(timeout=240)
        now = finished_shards(tmp_path)
        assert set(finished) <= set(now)
        assert len(set(now)) == len(now), "nothing that was finished is done again"
        finished = now
    assert start(fasta, tmp_path, {}).wait(timeout=120) == 0
    assert finished_shards(tmp_path) == list(range(NUM_SHARDS))
    np.testing.assert_array_equal(vectors_of(tmp_path), expected)
