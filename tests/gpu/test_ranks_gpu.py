# SPDX-License-Identifier: MIT
"""Ranks on real GPUs: each takes its own, says which, and samples only that one."""

import subprocess
import sys

import pytest
import torch

from tests.support.embed_outputs import finished_shards
from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler.telemetry.run_result import RunResult

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


@pytest.fixture
def options(tmp_path):
    fasta = write_fasta(tmp_path / "own.faa", random_records(4000, longest=300))
    return (
        "embed", "--fasta", str(fasta), "--model", "8M", "--weights", "random", "--format", "safetensors",
        "--output-dir", str(tmp_path / "out"), "--shards", "32", "--num-workers", "1",
    )  # fmt: skip


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=280)


def require_own_devices(finished, folder, ranks):
    assert finished.returncode == 0, finished.stderr
    assert finished_shards(folder) == list(range(32))
    runs = [RunResult.load(path) for path in sorted((folder / "telemetry").glob("run_*.json"))]
    uuids = [one.device.uuid for one in runs if one.total_sequences]
    assert len(set(uuids)) == len(uuids)
    assert len(runs) == ranks
    for uuid in uuids:
        assert uuid in finished.stdout, "each rank says which GPU it has"


def test_one_process_for_each_gpu_of_this_host(options, tmp_path):
    finished = run(sys.executable, "-m", "virnuc_profiler", *options, "--gpus", "all")
    count = torch.cuda.device_count()
    if count == 1:  # one rank has nothing to say
        assert finished.returncode == 0, finished.stderr
        assert finished_shards(tmp_path / "out") == list(range(32))
    else:
        require_own_devices(finished, tmp_path / "out", count)


def test_torchrun_with_a_rank_for_each_gpu(options, tmp_path):
    count = torch.cuda.device_count()
    if count < 2:
        pytest.skip("needs two GPUs")
    require_own_devices(run(*TORCHRUN, count, "-m", "virnuc_profiler", *options), tmp_path / "out", count)


def test_more_ranks_than_gpus_are_refused(options):
    count = torch.cuda.device_count()
    finished = run(*TORCHRUN, count + 1, "-m", "virnuc_profiler", *options)
    assert finished.returncode != 0
    assert f"{count + 1} ranks on this host, but only " in finished.stderr


def test_a_ray_actor_for_each_gpu(options, tmp_path):
    pytest.importorskip("ray")
    finished = run(sys.executable, "-m", "virnuc_profiler", *options, "--engine", "ray", "--ray-address", "local")
    require_own_devices(finished, tmp_path / "out", torch.cuda.device_count())
    assert ": cuda, " in finished.stdout
