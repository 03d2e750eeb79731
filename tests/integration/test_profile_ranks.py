# SPDX-License-Identifier: MIT
"""``profile`` and ``sweep`` under the launchers that people have."""

import os
import subprocess
import sys

import pytest

from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler.telemetry.run_result import RunResult

pytestmark = pytest.mark.slow

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SMALL = ("--device", "cpu", "--model", "8M", "--weights", "random", "--cooldown", "0")


@pytest.fixture
def fasta(tmp_path):
    return write_fasta(tmp_path / "own.faa", random_records(40, longest=60))


def require_each_sequence_once(folder):
    runs = [RunResult.load(path) for path in sorted(folder.glob("run_*_rank*of2.json"))]
    parts = [run.metadata["workload"]["part"] for run in runs]
    assert parts == [{"index": index, "count": 2, "whole": 40} for index in range(2)]
    assert [run.total_sequences for run in runs] == [20, 20]
    lengths = [len(sequence) + 2 for _, sequence in random_records(40, longest=60)]
    assert [run.total_tokens for run in runs] == [sum(lengths[index::2]) for index in range(2)]
    assert len(list(folder.glob("telemetry_*.json"))) == 2
    assert len(list(folder.glob("run_*.json"))) == 2


def test_profile_under_torchrun_runs_each_sequence_once(fasta, tmp_path):
    command = [
        *TORCHRUN,
        "-m",
        "virnuc_profiler",
        "profile",
        *SMALL,
        "--fasta",
        fasta,
        "--output-dir",
        tmp_path / "out",
    ]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert finished.returncode == 0, finished.stderr
    assert all(f"Rank {index} of 2 (torchrun) on " in finished.stdout for index in range(2))
    require_each_sequence_once(tmp_path / "out")


def test_profile_under_srun_runs_each_sequence_once(fasta, tmp_path):
    command = [sys.executable, "-m", "virnuc_profiler", "profile", *SMALL, "--fasta", fasta, "--output-dir",
               tmp_path / "out"]  # fmt: skip
    processes = [
        subprocess.Popen(
            command, env={**os.environ, "SLURM_PROCID": str(rank), "SLURM_NTASKS": "2", "SLURM_LOCALID": str(rank)}
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]
    require_each_sequence_once(tmp_path / "out")


def test_sweep_under_torchrun_is_refused(tmp_path):
    command = [*TORCHRUN, "-m", "virnuc_profiler", "sweep", "--device", "cpu", "--output-dir", tmp_path / "out"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert finished.returncode != 0
    assert "sweep runs in one process, and this is rank " in finished.stderr
    assert not (tmp_path / "out").exists()
