# SPDX-License-Identifier: MIT
"""Ranks of every launcher do one job together: the vectors of one process, each once."""

import os
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest
from benchmarks.embed_kills import claims_of, run_kills

from tests.support.command import run as run_command
from tests.support.command import wait_until
from tests.support.embed_outputs import finished_shards, shards_by_rank, vectors_of
from tests.support.embed_rank import LOG_FOLDER, NUM_SHARDS, SHARD_SECONDS, WORKERS
from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler import aggregate_telemetry_shards
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
    telemetry = sorted((folder / "telemetry").glob("telemetry_*.json"))
    assert len(telemetry) == ranks, "each rank has telemetry of its own"
    job = aggregate_telemetry_shards(telemetry)
    assert job["global_summary"]["total_sequences"] == 2000
    assert len(job["scaling"]["ranks"]) == ranks
    assert 0 <= job["scaling"]["tail_share"] < 1


@pytest.mark.parametrize("ranks", [2, 4])
def test_torchrun(fasta, expected, tmp_path, ranks):
    command = [*TORCHRUN, str(ranks), *PROGRAM, fasta, tmp_path]
    subprocess.run(command, check=True, timeout=240, env={**os.environ, SHARD_SECONDS: "0.1"})
    require_whole(tmp_path, expected, ranks)


def test_torchrun_starts_all_ranks_again_when_one_is_killed(fasta, expected, tmp_path):
    command = [*TORCHRUN[:-1], "--max-restarts", "1", TORCHRUN[-1], "2", *PROGRAM, fasta, tmp_path]
    launcher = subprocess.Popen(command, env={**os.environ, SHARD_SECONDS: "0.3"})
    wait_until(lambda: len(finished_shards(tmp_path)) >= 2)
    os.kill(int(next((tmp_path / LOG_FOLDER).glob("*.log")).stem), signal.SIGKILL)
    assert launcher.wait(timeout=240) == 0
    assert len(list((tmp_path / LOG_FOLDER).glob("*.log"))) == 4
    assert finished_shards(tmp_path) == list(range(NUM_SHARDS))
    np.testing.assert_array_equal(vectors_of(tmp_path), expected)


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


def test_the_command_starts_ranks_on_this_host(tmp_path):
    fasta = write_fasta(tmp_path / "few.faa", random_records(60, longest=30))
    options = ("embed", "--fasta", fasta, "--model", "8M", "--weights", "random", "--format", "safetensors",
               "--shards", "6", "--token-budget", "256")  # fmt: skip
    one = run_command(*options, "--output-dir", tmp_path / "one", "--device", "cpu")
    assert one.code == 0, one.err
    two = run_command(*options, "--output-dir", tmp_path / "two", "--ranks", "2")
    assert two.code == 0, two.err
    assert "Starting 2 ranks on the CPU" in two.out
    for rank in range(2):
        assert f"[rank {rank}] Rank {rank} of 2 (this program's launcher) on " in two.out
    assert "Checked: every sequence once: 60 counted in 6 files" in two.out
    np.testing.assert_array_equal(vectors_of(tmp_path / "one"), vectors_of(tmp_path / "two"))
    again = run_command(*options, "--output-dir", tmp_path / "two", "--device", "cpu")
    assert again.code == 0, again.err
    assert finished_shards(tmp_path / "two") == list(range(6))


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


def test_kills_at_random_moments_lose_nothing(tmp_path):
    outcome = run_kills(tmp_path, kills=4, ranks=2, seed=3)
    assert {claim.text: claim.holds for claim in claims_of(outcome)} == dict.fromkeys(
        (claim.text for claim in claims_of(outcome)), True
    )


def test_ranks_of_a_launcher_that_is_killed_end_with_it(fasta, expected, tmp_path):
    launcher = subprocess.Popen(
        [sys.executable, *PROGRAM, fasta, tmp_path, "2"], env={**os.environ, SHARD_SECONDS: "0.3"}
    )
    wait_until(lambda: len(finished_shards(tmp_path)) >= 2)
    pids = [int(log.stem) for log in (tmp_path / LOG_FOLDER).glob("*.log")]
    assert len(pids) == 2
    launcher.kill()
    launcher.wait()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    assert start(fasta, tmp_path, {}).wait(timeout=120) == 0
    assert finished_shards(tmp_path) == list(range(NUM_SHARDS))
    np.testing.assert_array_equal(vectors_of(tmp_path), expected)


def test_a_rank_with_loader_workers_takes_over_too(fasta, expected, tmp_path):
    """The loader has ended when the rank waits for others, and is started again for what it takes over."""
    lost = start(fasta, tmp_path, srun(1, 2), 0.5)
    wait_until(lambda: len(finished_shards(tmp_path)) >= 1)
    lost.send_signal(signal.SIGSTOP)  # it lives, and holds its shard
    rank = subprocess.Popen([sys.executable, *PROGRAM, fasta, tmp_path], env={**os.environ, **srun(0, 2), WORKERS: "1"})
    wait_until(lambda: len(finished_shards(tmp_path)) >= NUM_SHARDS - 2, within_s=180)
    lost.kill()
    lost.wait()
    assert rank.wait(timeout=240) == 0
    assert finished_shards(tmp_path) == list(range(NUM_SHARDS))
    np.testing.assert_array_equal(vectors_of(tmp_path), expected)
