# SPDX-License-Identifier: MIT
"""What a command does with the fact that it is one of several ranks."""

from __future__ import annotations

import argparse
import logging
import os
import platform
from pathlib import Path

from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.loading.interrupts import deferred_interrupts
from virnuc_profiler.ranks.rank import Rank
from virnuc_profiler.ranks.rank_device import device_of_rank
from virnuc_profiler.ranks.rank_variables import current_rank, unstarted_tasks

_log = logging.getLogger(__name__)


def refuse_ranks(command: str) -> None:
    """Refuse to run a command once for each rank, because all of them would do the same and write the same files.

    Args:
        command: The command, as the user gave it.

    Raises:
        UsageError: This process is one of several ranks, or the variables of a launcher contradict each other.
    """
    rank = current_rank()
    if not rank.is_single:
        raise UsageError(
            f"{command} runs in one process, and this is {rank}: start it once, without a launcher; what several ranks "
            "can do together is profile and embed"
        )


def refuse_ranks_that_write(arguments: argparse.Namespace) -> None:
    """Refuse a command of several ranks that would all write the same file; those that divide the work are not refused.

    Args:
        arguments: The options of any command.

    Raises:
        UsageError: The command is one, or the variables of a launcher contradict each other.
    """
    command: str = arguments.command
    file = next((name for name in ("output", "json") if isinstance(getattr(arguments, name, None), Path)), None)
    if command in ("sweep", "baseline"):
        refuse_ranks(command)
    elif getattr(arguments, "calibrate", False):
        refuse_ranks(f"{command} --calibrate")
    elif file is not None:
        refuse_ranks(f"{command} --{file}")


def part_of_rank(rank: Rank) -> tuple[int, int] | None:
    """Return the part of a workload that a rank runs, and the number of parts; None if it runs all.

    Args:
        rank: Which rank this process is.

    Raises:
        UsageError: The rank's number does not say which part it runs.
    """
    if rank.is_single:
        return None
    if rank.index >= rank.count:
        raise UsageError(
            "the ids of this Slurm array are not evenly spaced, so a task cannot know which part of the sequences it "
            f"runs: use --array=0-{rank.count - 1}"
        )
    return rank.index, rank.count


def share_device(arguments: argparse.Namespace, rank: Rank) -> None:
    """Let ``--device`` name the device of this rank, which no other rank of the host uses.

    Args:
        arguments: The options. ``device`` is replaced.
        rank: Which rank this process is.

    Raises:
        UsageError: There are not enough GPUs, or one was named for all ranks.
    """
    if rank.local_count == 1 or arguments.device == "cpu":
        return
    with deferred_interrupts():  # Python dies of Ctrl-C during the seconds in which PyTorch is imported
        import torch
    visible = torch.cuda.device_count() if torch.cuda.is_available() else 0
    arguments.device = device_of_rank(rank, arguments.device, visible)
    kind, _, ordinal = arguments.device.partition(":")
    if kind == "cuda" and ordinal:  # else pinned memory would take a context on the GPU of the first rank
        torch.cuda.set_device(int(ordinal))


def share_cores(rank: Rank, wanted: int, *, given: bool) -> int:
    """Divide the cores of the host among its ranks: set the threads of PyTorch, and return the number of workers.

    Args:
        rank: Which rank this process is.
        wanted: Loader workers of a process that is alone on its host.
        given: Whether the user has named that number for a rank, which then stays.
    """
    if rank.local_count == 1:
        return wanted
    from virnuc_profiler.capture.cpu_limits import cpu_limits
    from virnuc_profiler.ranks.host_share import cores_of_rank, threads_of_rank, workers_of_rank

    cores = cores_of_rank(rank, cpu_limits().usable_cores or 1)
    if "OMP_NUM_THREADS" not in os.environ:
        import torch

        torch.set_num_threads(threads_of_rank(cores))
    return wanted if given else workers_of_rank(cores, wanted)


def warn_of_unstarted_tasks() -> None:
    """Warn if Slurm has given this job several tasks that nothing has started."""
    if (tasks := unstarted_tasks()) is not None:
        _log.warning("this Slurm job has %d tasks, but only this process runs: put srun before the command", tasks)


def describe_rank(rank: Rank, device: str) -> str:
    """Return a line that says which rank runs where, and on which card.

    Args:
        rank: The rank.
        device: Its device, already resolved.
    """
    from virnuc_profiler.capture.target import resolve_target

    target = resolve_target(device)
    card = "" if target.uuid is None else f", {target.name} ({target.uuid})"
    text = str(rank)
    return f"{text[0].upper()}{text[1:]} on {platform.node()}: {device}{card}"
