# SPDX-License-Identifier: MIT
"""The ranks of a host divide its cores, unless Slurm has done so already."""

import pytest

from virnuc_profiler.ranks.host_share import cores_of_rank, threads_of_rank, workers_of_rank
from virnuc_profiler.ranks.rank import Rank

TORCHRUN = Rank(index=0, count=8, local_index=0, local_count=4, launcher="torchrun")
SRUN = Rank(index=0, count=8, local_index=0, local_count=4, launcher="srun")


@pytest.mark.parametrize(
    ("rank", "usable", "environment", "cores"),
    [
        (Rank(), 16, {}, 16),
        (TORCHRUN, 16, {}, 4),
        (TORCHRUN, 2, {}, 0.5),
        (TORCHRUN, 16, {"SLURM_CPUS_ON_NODE": "64"}, 4),
        (SRUN, 16, {}, 4),
        (SRUN, 16, {"SLURM_CPUS_ON_NODE": "64"}, 16),
        (SRUN, 64, {"SLURM_CPUS_ON_NODE": "64"}, 16),
        (SRUN, 64, {"SLURM_CPUS_PER_TASK": "8"}, 8),
        (SRUN, 4, {"SLURM_CPUS_PER_TASK": "8"}, 4),
    ],
)
def test_cores(rank, usable, environment, cores):
    assert cores_of_rank(rank, usable, environment) == cores


@pytest.mark.parametrize(("cores", "wanted", "workers"), [(16, 4, 4), (4, 4, 3), (1.5, 4, 1), (0.5, 4, 1), (16, 0, 0)])
def test_workers(cores, wanted, workers):
    assert workers_of_rank(cores, wanted) == workers


def test_threads():
    assert [threads_of_rank(cores) for cores in (0.5, 2.5, 16)] == [1, 2, 16]
