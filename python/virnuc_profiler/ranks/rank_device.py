# SPDX-License-Identifier: MIT
"""Which device a rank computes on, so that no two ranks of a host take the same GPU."""

from __future__ import annotations

from virnuc_profiler.errors import UsageError
from virnuc_profiler.ranks.rank import Rank
from virnuc_profiler.ranks.rank_variables import TORCHRUN


def device_of_rank(rank: Rank, requested: str, visible: int, *, share: bool = False) -> str:
    """Return the device of a rank, as an ordinal among the devices that its process sees.

    CUDA_VISIBLE_DEVICES, with indices, UUIDs or MIG instances, has already been applied to what a process sees.

    Args:
        rank: The rank.
        requested: What the user asked for: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        visible: Number of CUDA devices that this process sees.
        share: Whether several ranks may use one GPU.

    Returns:
        `requested` where this rank is alone on its devices, else ``cpu`` or ``cuda:N``.

    Raises:
        UsageError: A device was named that all ranks of the host would use, or there are too few GPUs for them.
    """
    if requested == "cpu" or rank.local_count == 1:
        return requested
    if requested == "auto" and not visible:
        return "cpu"
    if requested.startswith("cuda:"):
        if share or rank.owns_devices:
            return requested
        raise UsageError(
            f"--device {requested} would give all {rank.local_count} ranks of this host one GPU: leave it out, and "
            "each rank takes a GPU of its own"
        )
    if rank.owns_devices or not visible:  # without a GPU, PyTorch's own error says why
        return requested
    if rank.local_count > visible and not share:
        raise UsageError(
            f"{rank.local_count} ranks on this host, but {_counted(visible)} for them: start {visible} "
            f"{'rank' if visible == 1 else 'ranks'} per host{_way_out(rank)}, or add --device cpu"
        )
    return f"cuda:{rank.local_index % visible}"


def _counted(visible: int) -> str:
    return "only one GPU is visible" if visible == 1 else f"only {visible} GPUs are visible"


def _way_out(rank: Rank) -> str:
    if rank.launcher.startswith(TORCHRUN):
        return " (torchrun --nproc-per-node)"
    return " (srun --ntasks-per-node), or give each task a GPU (srun --gpus-per-task=1)"
