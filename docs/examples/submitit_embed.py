# SPDX-License-Identifier: MIT
"""Run an embed job on Slurm from Python, through submitit: one task per GPU, and again if it was preempted.

    python submitit_embed.py --nodes 4 --tasks-per-node 8 -- --fasta p.faa --output-dir vectors --model 650M

What follows ``--`` are options of ``virnuc-profiler embed``. ``--cluster local`` runs the tasks on this host.
"""

import argparse
import os
import runpy
import sys
from typing import Any

import submitit


class EmbedTask:
    """One task of the job: the command itself, which finds its rank in the variables of Slurm."""

    def __init__(self, options: list[str]) -> None:
        self.options = options

    def __call__(self) -> None:
        """Run the command in this process, which submitit has started."""
        task = submitit.JobEnvironment()
        if task.cluster == "local":  # submitit's processes on this host have other variables
            rank, count, place = task.global_rank, task.num_tasks, task.local_rank
            os.environ.update(SLURM_PROCID=str(rank), SLURM_NTASKS=str(count), SLURM_LOCALID=str(place))
        sys.argv = ["virnuc-profiler", "embed", *self.options]
        try:
            runpy.run_module("virnuc_profiler", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            if end.code in (1, 2):
                raise RuntimeError(f"embed ended with exit code {end.code}; its output says why") from None
            if end.code:  # submitit ends a task that it submits again
                raise

    def checkpoint(self) -> Any:
        """Submit the job again when Slurm preempts it, or its time is over: the folder says what is left."""
        return submitit.helpers.DelayedSubmission(self)


def main() -> None:
    """Submit the job, and wait for its end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cluster", help="slurm or local (default: slurm where there is one)")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--tasks-per-node", type=int, default=1)
    parser.add_argument("--gpus-per-task", type=int, default=1)
    parser.add_argument("--cpus-per-task", type=int, default=8)
    parser.add_argument("--hours", type=float, default=10)
    parser.add_argument("--logs", default="submitit_logs")
    parser.add_argument("options", nargs="+", help="options of virnuc-profiler embed, after --")
    arguments = parser.parse_args()
    executor = submitit.AutoExecutor(folder=arguments.logs, cluster=arguments.cluster)
    executor.update_parameters(
        name="embed",
        nodes=arguments.nodes,
        tasks_per_node=arguments.tasks_per_node,
        cpus_per_task=arguments.cpus_per_task,
        timeout_min=int(60 * arguments.hours),
        **({"slurm_gpus_per_task": arguments.gpus_per_task} if arguments.gpus_per_task else {}),
    )
    job = executor.submit(EmbedTask(arguments.options))
    print(f"Submitted job {job.job_id}; its output is in {arguments.logs}", flush=True)
    job.results()


if __name__ == "__main__":
    main()
