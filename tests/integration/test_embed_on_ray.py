# SPDX-License-Identifier: MIT
"""A job on a Ray cluster of two nodes on this host: the vectors of one process, whatever is lost on the way."""

import os
import subprocess
import sys

import numpy as np
import psutil
import pytest
from benchmarks.embed_kills import claims_of, run_kills

from tests.support.command import Command, run, wait_until
from tests.support.embed_outputs import finished_shards, shards_by_rank, vectors_of
from tests.support.embed_rank import LOG_FOLDER, NUM_SHARDS, SHARD_SECONDS
from tests.support.fasta_files import random_records, write_fasta
from tests.support.ray_nodes import ray_nodes
from tests.support.small_disk import fill
from virnuc_profiler.embed.on_ray.actor_pool import ActorPool, PoolPlan
from virnuc_profiler.embed.on_ray.node_check import node_probe
from virnuc_profiler.embed.on_ray.ray_cluster import ray_cluster
from virnuc_profiler.reports.shard_files import aggregate_files

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FEW = ("--model", "8M", "--weights", "random", "--format", "safetensors", "--token-budget", "256", "--engine", "ray")


@pytest.fixture(scope="module")
def nodes():
    with ray_nodes(2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    return write_fasta(tmp_path_factory.mktemp("sequences") / "two_thousand.faa", random_records(2000, longest=60))


@pytest.fixture(scope="module")
def expected(fasta, tmp_path_factory):
    """The vectors of one process."""
    folder = tmp_path_factory.mktemp("one")
    subprocess.run([sys.executable, "-m", "tests.support.embed_rank", fasta, folder], check=True, timeout=120)
    return vectors_of(folder)


class Driver:
    """The ranks of a small job on a cluster, as a process."""

    def __init__(self, nodes, fasta, folder, seconds_per_shard=0.0):
        command = [sys.executable, "-m", "tests.support.ray_nodes", nodes.address, fasta, folder, "2"]
        environment = {**os.environ, SHARD_SECONDS: str(seconds_per_shard)}
        self.folder = folder
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    def ranks(self):
        """The processes of the ranks that have begun."""
        pids = [int(log.stem) for log in (self.folder / LOG_FOLDER).glob("*.log")]
        return [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]

    def finish(self):
        out, _ = self.process.communicate(timeout=240)
        return self.process.returncode, out


def require_whole(folder, expected):
    assert finished_shards(folder) == list(range(NUM_SHARDS)), "each shard once"
    np.testing.assert_array_equal(vectors_of(folder), expected)


def test_the_command_writes_what_one_process_writes_and_continues_by_itself(nodes, tmp_path):
    fasta = write_fasta(tmp_path / "few.faa", random_records(60, longest=30))
    options = ("embed", "--fasta", fasta, "--output-dir", tmp_path / "out", *FEW, "--shards", "6", "--ray-address",
               nodes.address)  # fmt: skip
    first = run(*options, timeout=240)
    assert first.code == 0, first.err
    assert "Ray: 2 nodes, 2 CPU cores, 0 GPUs" in first.out
    assert first.out.count("Job: 60 sequences of") == 1
    assert "[rank 0] Rank 0 of 2 (Ray) on " in first.out
    assert "All ranks: 60 vectors in 6 shards" in first.out
    assert "Checked: every sequence once: 60 counted in 6 files" in first.out
    assert "raylet" not in first.out + first.err
    one = run(*options[:3], "--output-dir", tmp_path / "one", *FEW[:-2], "--shards", "6", "--device", "cpu")
    assert one.code == 0, one.err
    np.testing.assert_array_equal(vectors_of(tmp_path / "out"), vectors_of(tmp_path / "one"))
    telemetry = sorted((tmp_path / "out" / "telemetry").glob("telemetry_*.json"))
    assert 1 <= len(telemetry) <= 2  # on a busy machine, one rank may have done all before the other had begun
    assert aggregate_files(telemetry)[0]["global_summary"]["total_sequences"] == 60
    (tmp_path / "out" / "vectors" / "shard_00002.safetensors").unlink()
    with (tmp_path / "out" / "vectors" / "shard_00003.safetensors").open("r+b") as file:
        file.truncate(100)
    second = run(*options, "--num-actors", "1", timeout=240)
    assert second.code == 0, second.err
    assert "Shard 2 is done again: vectors/shard_00002.safetensors is missing" in second.out
    assert "Shard 3 is done again: vectors/shard_00003.safetensors has 100 bytes" in second.out
    assert "All ranks: " in second.out
    assert "Checked: every sequence once: 60 counted in 6 files" in second.out
    with fasta.open("a") as file:
        file.write(">more\nACD\n")
    changed = run(*options, timeout=240)
    assert changed.code == 2
    assert "the content of the FASTA file is another one" in changed.error


def test_another_actor_takes_the_place_of_one_that_is_killed(nodes, fasta, expected, tmp_path):
    driver = Driver(nodes, fasta, tmp_path, 0.5)
    wait_until(lambda: len(finished_shards(tmp_path)) >= 2, within_s=120)
    driver.ranks()[0].parent().kill()
    code, out = driver.finish()
    assert code == 0, out
    assert "was lost, since its actor on " in out
    require_whole(tmp_path, expected)


def test_a_job_survives_the_loss_of_a_node(nodes, fasta, expected, tmp_path):
    extra = nodes.add_node(num_cpus=1, num_gpus=0, object_store_memory=80 * 2**20, include_dashboard=False)
    driver = Driver(nodes, fasta, tmp_path, 0.3)
    try:
        wait_until(lambda: len(finished_shards(tmp_path)) >= 2, within_s=120)
        lost = next(node for node in nodes.worker_nodes if node is not extra)
    finally:
        nodes.remove_node(lost, allow_graceful=False)
    code, out = driver.finish()
    assert code == 0, out
    require_whole(tmp_path, expected)


def test_the_ranks_of_a_driver_that_is_killed_end_and_the_same_command_continues(nodes, fasta, expected, tmp_path):
    driver = Driver(nodes, fasta, tmp_path, 0.5)
    wait_until(lambda: len(finished_shards(tmp_path)) >= 2, within_s=120)
    ranks = driver.ranks()
    driver.process.kill()
    driver.process.wait()
    wait_until(lambda: not any(rank.is_running() for rank in ranks))
    before = shards_by_rank(tmp_path)
    code, out = Driver(nodes, fasta, tmp_path).finish()
    assert code == 0, out
    after = shards_by_rank(tmp_path)
    assert all(after[rank][: len(shards)] == shards for rank, shards in before.items())
    require_whole(tmp_path, expected)


def test_each_actor_has_a_gpu_of_its_own_and_its_share_of_the_cores(nodes, fasta, tmp_path):
    """Ray gives away what a node says that it has, so no GPU is needed."""
    with_gpus = nodes.add_node(num_cpus=6, num_gpus=2, object_store_memory=80 * 2**20, include_dashboard=False)
    code = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['OMP_NUM_THREADS']); time.sleep(5)"
    lines = []
    try:
        with ray_cluster(nodes.address) as cluster, node_probe(tmp_path / "out", fasta) as probe:
            plan = PoolPlan(["-c", code], probe, max_actors=2, elastic=False, use_gpus=True)
            pool = ActorPool(cluster, plan, lambda rank, line: lines.append((rank, line.text)), print)
            pool.run()
    finally:
        nodes.remove_node(with_gpus)
    assert pool.succeeded
    assert sorted(rank for rank, _ in lines) == [0, 1]
    assert sorted(text for _, text in lines) == ["0 3", "1 3"]


def test_kills_at_random_moments_lose_nothing(nodes, tmp_path):
    outcome = run_kills(tmp_path, kills=3, ranks=2, seed=5, ray_address=nodes.address)
    assert [claim for claim in claims_of(outcome) if not claim.holds] == []


def test_a_disk_that_fills_up_is_one_sentence_and_nothing_is_lost(nodes, tmp_path, small_disk):
    fasta, folder = write_fasta(tmp_path / "some.faa", random_records(400, longest=60)), small_disk / "out"
    options = ("embed", "--fasta", fasta, "--output-dir", folder, *FEW, "--shards", "80", "--ray-address",
               nodes.address)  # fmt: skip
    command = Command(*options)
    wait_until(lambda: len(finished_shards(folder)) >= 2, within_s=120)
    fill(small_disk / "filler")
    finished = command.finish(timeout=240)
    assert finished.code == 1
    assert "no rank is left, since cannot write " in finished.error
    assert "No space left on device" in finished.error
    before = shards_by_rank(folder)
    (small_disk / "filler").unlink()
    again = run(*options, timeout=240)
    assert again.code == 0, again.err
    assert "Checked: every sequence once: 400 counted in 80 files" in again.out
    after = shards_by_rank(folder)
    assert all(after[rank][: len(shards)] == shards for rank, shards in before.items())


def test_a_ray_that_the_command_has_started_ends_with_it(tmp_path):
    fasta = write_fasta(tmp_path / "some.faa", random_records(400, longest=60))
    folder = tmp_path / "out"
    command = Command(
        "embed", "--fasta", fasta, "--output-dir", folder, *FEW, "--shards", "100", "--ray-address", "local"
    )
    wait_until(lambda: len(list((folder / "vectors").glob("shard_*"))) >= 2, within_s=120)
    command.interrupt()
    finished = command.finish()
    assert finished.code == 1
    assert f"complete shards are written, and embed --resume {folder} continues the job" in finished.error
    assert command.left_behind() == []
    assert not list(folder.rglob(".*unfinished*"))
