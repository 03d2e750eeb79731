# SPDX-License-Identifier: MIT
"""``embed --engine ray``: ranks on the nodes of a Ray cluster."""

from __future__ import annotations

import argparse
import os
from typing import Final

from virnuc_profiler.cli.options.arguments import whole
from virnuc_profiler.errors import UsageError
from virnuc_profiler.ranks.rank_variables import RANK_VARIABLE, current_rank

RAY: Final = "ray"


def add_ray_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that start ranks on a cluster."""
    group = parser.add_argument_group("a cluster")
    group.add_argument(
        "--engine", choices=(RAY,),
        help="ray: one actor for each GPU of a Ray cluster; without GPUs, or with --device cpu, for each CPU core",
    )  # fmt: skip
    group.add_argument(
        "--ray-address", metavar="auto|local|HOST:PORT",
        help="auto: the cluster that this host is a node of; local: start one here, for this command alone (default: "
        "auto if there is one, else local)",
    )  # fmt: skip
    group.add_argument(
        "--num-actors", type=whole(1), metavar="N",
        help="number of actors (default: as many as the cluster has room for, also when it grows, up to one per shard)",
    )  # fmt: skip


def runs_on_ray(arguments: argparse.Namespace) -> bool:
    """Return whether the command is to run its ranks on a Ray cluster, and is not one of them.

    Args:
        arguments: The options.

    Raises:
        UsageError: The options contradict each other, or another launcher has started several ranks.
    """
    if arguments.engine is None:
        for option in ("ray_address", "num_actors"):
            if getattr(arguments, option) is not None:
                raise UsageError(f"--{option.replace('_', '-')} needs --engine ray")
        return False
    if RANK_VARIABLE in os.environ:
        return False
    if arguments.gpus is not None or arguments.ranks is not None:
        if arguments.dry_run:
            return False
        name = "ranks" if arguments.gpus is None else "gpus"
        raise UsageError(f"--engine ray starts the ranks of a cluster, and --{name} those of this host: leave one out")
    if arguments.device.startswith("cuda:"):
        raise UsageError(
            f"--engine ray gives each actor a GPU, so --device {arguments.device} has no place: leave it out"
        )
    rank = current_rank()
    if not rank.is_single:
        raise UsageError(f"--engine ray starts ranks, and this is {rank} already: start the command once, without it")
    return not arguments.dry_run
