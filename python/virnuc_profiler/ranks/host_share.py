# SPDX-License-Identifier: MIT
"""What a rank may use of its host: CPU cores, and the loader workers and threads that follow from them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Final

from virnuc_profiler.ranks.rank import Rank
from virnuc_profiler.ranks.rank_variables import SRUN

_CPUS_PER_TASK: Final = "SLURM_CPUS_PER_TASK"
_CPUS_ON_NODE: Final = "SLURM_CPUS_ON_NODE"


def cores_of_rank(rank: Rank, usable: float, environment: Mapping[str, str] | None = None) -> float:
    """Return the cores of a rank: those that its process may use, divided among the ranks that may use the same ones.

    Slurm may have bound each task to cores of its own. Then they are not divided again.

    Args:
        rank: The rank.
        usable: Cores that this process may use, by affinity and quota.
        environment: Variables of the environment; None for those of this process.
    """
    environment = os.environ if environment is None else environment
    if rank.local_count == 1:
        return usable
    if rank.launcher.startswith(SRUN):
        of_task, of_node = (_whole(environment.get(name)) for name in (_CPUS_PER_TASK, _CPUS_ON_NODE))
        if of_task is not None:
            return min(usable, of_task)
        if of_node is not None and usable * rank.local_count <= of_node:
            return usable
    return usable / rank.local_count


def workers_of_rank(cores: float, wanted: int) -> int:
    """Return how many loader workers a rank starts: no more than its cores leave beside the loop, but at least one.

    Args:
        cores: Cores of the rank.
        wanted: Workers that a rank with enough cores starts; 0 stays 0.
    """
    return min(wanted, max(1, math.floor(cores) - 1))


def threads_of_rank(cores: float) -> int:
    """Return how many threads an operation of PyTorch on the CPU may use in a rank.

    Args:
        cores: Cores of the rank.
    """
    return max(1, math.floor(cores))


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and int(text) > 0 else None
