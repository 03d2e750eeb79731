# SPDX-License-Identifier: MIT
"""``embed --gpus`` and ``embed --ranks``: one supervised process for each rank on this host."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from virnuc_profiler.cli.options.arguments import whole
from virnuc_profiler.cli.terminal import say, terminal_width
from virnuc_profiler.errors import UsageError
from virnuc_profiler.ranks.gpu_list import ALL, choose_gpus, parse_ordinals, visible_entries
from virnuc_profiler.ranks.local_launcher import LAUNCHER_VARIABLE, run_ranks
from virnuc_profiler.ranks.rank_variables import SLURM_ARRAY, current_rank
from virnuc_profiler.telemetry.number_text import counted


def add_rank_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that start several ranks on this host."""
    group = parser.add_argument_group("several GPUs of this host")
    group.add_argument(
        "--gpus", type=_gpus, metavar="all|N|0,2",
        help="start one process for each GPU: all, the first N, or those of a list; not under torchrun or srun, which "
        "start the processes themselves. With --dry-run: numbers of GPUs, of this or any other machine, for each of "
        "which the time is predicted",
    )  # fmt: skip
    group.add_argument("--ranks", type=whole(1), metavar="N", help="start N processes on the CPU")


def _gpus(text: str) -> str:
    """Read what ``--gpus`` names, without looking for GPUs."""
    if text != ALL:
        try:
            parse_ordinals(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return text


def starts_ranks(arguments: argparse.Namespace) -> bool:
    """Return whether the command is to start ranks, and is not one of them.

    Args:
        arguments: The options.

    Raises:
        UsageError: The options contradict each other, or another launcher has started several ranks.
    """
    asked = [f"--{name}" for name in ("gpus", "ranks") if getattr(arguments, name) is not None]
    if not asked or LAUNCHER_VARIABLE in os.environ:
        return False
    if len(asked) > 1:
        raise UsageError("--gpus starts a process for each GPU, and --ranks starts them on the CPU: give one of them")
    fits = ("auto", "cuda") if asked == ["--gpus"] else ("auto", "cpu")
    if arguments.device not in fits:
        raise UsageError(f"{asked[0]} chooses the devices, so --device {arguments.device} has no place: leave one out")
    rank = current_rank()
    if not rank.is_single and rank.launcher != SLURM_ARRAY:
        raise UsageError(f"{asked[0]} starts ranks, and this is {rank} already: leave {asked[0]} out")
    return True


def predicted_counts(arguments: argparse.Namespace) -> tuple[int, ...]:
    """Return the numbers of ranks that ``--dry-run`` is to predict the time of; empty if none are named.

    Args:
        arguments: The options.

    Raises:
        UsageError: This process sees no GPU, or a number of GPUs is 0.
    """
    if not arguments.dry_run:
        return ()
    if arguments.gpus is None:
        return () if arguments.ranks is None else (arguments.ranks,)
    if arguments.gpus == ALL:
        return (len(_entries(ALL)),)
    counts = parse_ordinals(arguments.gpus)
    if 0 in counts:
        raise UsageError(
            f"--gpus {arguments.gpus} with --dry-run names numbers of GPUs, and 0 is none: for the GPUs "
            f"{arguments.gpus}, give their number, {len(counts)}"
        )
    return tuple(counts)


def _entries(request: str) -> list[str]:
    from virnuc_profiler.capture.target import visible_uuids

    return choose_gpus(request, visible_entries(os.environ.get("CUDA_VISIBLE_DEVICES"), visible_uuids()))


def end_with_launcher() -> None:
    """Let this process end when the launcher that started it dies, so that no rank goes on unseen."""
    launcher = os.environ.get(LAUNCHER_VARIABLE, "")
    if launcher.isdecimal():
        from virnuc_profiler.sweep.worker.process_tree import die_with_parent

        die_with_parent(int(launcher))


def run_on_this_host(arguments: argparse.Namespace) -> bool:
    """Start the ranks and wait for them; return whether one of them has ended well, which is when all work is done.

    Args:
        arguments: The options.

    Raises:
        UsageError: There are no such GPUs.
        KeyboardInterrupt: Ctrl-C, once all ranks have ended.
    """
    environments: Sequence[Mapping[str, str]]
    shared = {"COLUMNS": str(terminal_width() - len("[rank 10] "))}  # what ranks print gets this before each line
    if arguments.gpus is not None:
        entries = _entries(arguments.gpus)
        environments = [{"CUDA_VISIBLE_DEVICES": entry, **shared} for entry in entries]
        on = f"for {', '.join(entries)}"
    else:
        environments = [{"CUDA_VISIBLE_DEVICES": "", **shared}] * arguments.ranks
        on = "on the CPU"
    print(f"Starting {counted(len(environments), 'rank')} {on}", flush=True)
    command = [sys.executable, "-m", "virnuc_profiler", *arguments.argv]
    return 0 in _run_shown(command, environments)


def _run_shown(command: Sequence[str], environments: Sequence[Mapping[str, str]]) -> Sequence[int]:
    """Run the ranks, with a live view of all of them if stderr is a terminal; return their exit codes."""
    from virnuc_profiler.cli.live.ranks_view import RanksView
    from virnuc_profiler.cli.live.screen import Screen, shows_live

    if not shows_live():
        return run_ranks(command, environments, say=_say)
    from virnuc_profiler.cli.live.view_rows import rendered

    view = RanksView(len(environments))
    with Screen(rendered(view.rows)):
        return run_ranks(command, environments, say=_say, on_state=view.note)


def _say(sentence: str) -> None:
    say(f"virnuc-profiler: {sentence}")
