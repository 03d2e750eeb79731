# SPDX-License-Identifier: MIT
"""Which rank this process is, from the variables that launchers set in its environment.

The innermost launcher decides: ``--gpus`` of this program, then torchrun, then ``srun``, then a Slurm array. Each task
of an array may itself start several ranks, which are then numbered through all tasks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from virnuc_profiler.errors import UsageError
from virnuc_profiler.ranks.rank import Rank

TORCHRUN: Final = "torchrun"
SRUN: Final = "srun"
SLURM_ARRAY: Final = "a Slurm array"
LOCAL: Final = "this program's launcher"
RAY: Final = "Ray"
OWN_LAUNCHERS: Final = (LOCAL, RAY)
"""Launchers of this program, which check a job when all its ranks have ended."""

RANK_VARIABLE: Final = "VIRNUC_PROFILER_RANK"
COUNT_VARIABLE: Final = "VIRNUC_PROFILER_RANKS"
JOB_VARIABLE: Final = "VIRNUC_PROFILER_LAUNCH"
ATTEMPT_VARIABLE: Final = "VIRNUC_PROFILER_ATTEMPT"
ENGINE_VARIABLE: Final = "VIRNUC_PROFILER_ENGINE"

_NO_RUN_ID: Final = ("", "none")
"""What torchrun calls a run that the user gave no name; two of them must not be taken for one."""

_NO_STEP: Final = 0xFFFF_FFF0
"""Slurm's own steps, such as the batch script and an interactive shell, have ids from here on."""

Environment = Mapping[str, str]


def current_rank(environment: Environment | None = None) -> Rank:
    """Return which rank this process is; the only one if no launcher has started it.

    Args:
        environment: Variables of the environment; None for those of this process.

    Raises:
        UsageError: The variables of a launcher are incomplete, or contradict each other.
    """
    environment = os.environ if environment is None else environment
    inner = _local(environment) or _torchrun(environment) or _srun(environment)
    if inner is not None and inner.launcher == RAY:
        return inner  # what has started the nodes of its cluster, such as an array, has nothing to do with it
    task = _array_task(environment)
    if inner is None or task is None:
        return inner or task or Rank()
    if inner.is_single:
        return replace(task, attempt=max(task.attempt, inner.attempt))
    return replace(
        inner,
        index=task.index * inner.count + inner.index,
        count=task.count * inner.count,
        launcher=f"{inner.launcher} in {SLURM_ARRAY}",
        job=f"{task.job}/{inner.job}" if task.job and inner.job else "",
    )


def rank_environment(index: int, count: int, job: str, attempt: int, launcher: str = LOCAL) -> dict[str, str]:
    """Return the variables by which a launcher of this program tells a process which rank it is.

    Args:
        index: Number of the rank.
        count: Number of ranks.
        job: Name of this start of the job, which no other start has.
        attempt: How often the rank was started before.
        launcher: Which launcher of this program starts it.
    """
    return {
        RANK_VARIABLE: str(index),
        COUNT_VARIABLE: str(count),
        JOB_VARIABLE: job,
        ATTEMPT_VARIABLE: str(attempt),
        ENGINE_VARIABLE: launcher,
    }


def _local(environment: Environment) -> Rank | None:
    if RANK_VARIABLE not in environment:
        return None
    index, count = _place(environment, RANK_VARIABLE, COUNT_VARIABLE, LOCAL)
    return Rank(
        index=index,
        count=count,
        local_index=index,
        local_count=count,
        launcher=RAY if environment.get(ENGINE_VARIABLE) == RAY else LOCAL,
        job=environment.get(JOB_VARIABLE, ""),
        attempt=_number(environment, ATTEMPT_VARIABLE) or 0,
        owns_devices=True,
    )


def _torchrun(environment: Environment) -> Rank | None:
    names = ["RANK", "WORLD_SIZE"] if environment.get("WORLD_SIZE") == "1" else ["RANK", "WORLD_SIZE", "LOCAL_RANK"]
    given = [name for name in names if name in environment]
    missing = [name for name in names if name not in environment]
    if not given or (given == ["WORLD_SIZE"] and len(names) == 2):
        return None
    way_out = "start the ranks with torchrun, which sets all of them, or unset them"
    if missing:
        raise UsageError(f"{_listed(given)} set but {_listed(missing)} not: {way_out}")
    index, count = _place(environment, "RANK", "WORLD_SIZE", TORCHRUN)
    if count == 1:
        return Rank(launcher=TORCHRUN, attempt=_number(environment, "TORCHELASTIC_RESTART_COUNT") or 0)
    local_total = "LOCAL_WORLD_SIZE" if "LOCAL_WORLD_SIZE" in environment else "WORLD_SIZE"
    local_index, local_count = _place(environment, "LOCAL_RANK", local_total, TORCHRUN)
    if local_count > count:
        raise UsageError(f"LOCAL_WORLD_SIZE is {local_count} but WORLD_SIZE is only {count}: {way_out}")
    run_id = environment.get("TORCHELASTIC_RUN_ID", "")
    return Rank(
        index=index,
        count=count,
        local_index=local_index,
        local_count=local_count,
        launcher=TORCHRUN,
        job="" if run_id in _NO_RUN_ID else f"torchrun {run_id}",
        attempt=_number(environment, "TORCHELASTIC_RESTART_COUNT") or 0,
    )


def _srun(environment: Environment) -> Rank | None:
    """Return the rank of a task that ``srun`` has started.

    The script of ``sbatch`` itself also has SLURM_PROCID=0 and SLURM_NTASKS, but is one process: only a step has ranks.
    """
    if "SLURM_PROCID" not in environment:
        return None
    step = _number(environment, "SLURM_STEP_ID", "SLURM_STEPID")
    if (step is None and "SLURM_JOB_ID" in environment) or (step is not None and step >= _NO_STEP):
        return None
    total = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
    index, count = _place(environment, "SLURM_PROCID", total, SRUN)
    job_id = environment.get("SLURM_JOB_ID")
    job = "" if job_id is None else f"slurm {job_id}.{step}"
    if count == 1:
        return Rank(launcher=SRUN, job=job)
    local_count = _tasks_of_host(environment, count)
    local_index = _number(environment, "SLURM_LOCALID")
    if local_index is None:
        raise UsageError("SLURM_PROCID is set but SLURM_LOCALID is not: start the ranks with srun, which sets both")
    if local_index >= local_count:
        raise UsageError(
            f"SLURM_LOCALID is {local_index}, but this host has {local_count} of the tasks by SLURM_TASKS_PER_NODE: "
            "start the ranks with srun, which sets both"
        )
    return Rank(
        index=index,
        count=count,
        local_index=local_index,
        local_count=local_count,
        launcher=SRUN,
        job=job,
        attempt=_number(environment, "SLURM_RESTART_COUNT") or 0,
        owns_devices=_gpus_are_bound(environment),
    )


def unstarted_tasks(environment: Environment | None = None) -> int | None:
    """Return the number of tasks that a Slurm job was given, if no ``srun`` has started them; None otherwise.

    Args:
        environment: Variables of the environment; None for those of this process.
    """
    environment = os.environ if environment is None else environment
    if "SLURM_JOB_ID" not in environment or not current_rank(environment).is_single or "RANK" in environment:
        return None
    tasks = _number(environment, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
    return tasks if tasks is not None and tasks > 1 and RANK_VARIABLE not in environment else None


def _gpus_are_bound(environment: Environment) -> bool:
    """Return whether Slurm has given each task GPUs of its own, of which it then sees no others."""
    bind = environment.get("SLURM_GPU_BIND", environment.get("SLURM_STEP_GPU_BIND", ""))
    if bind.startswith("none"):
        return False
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    on_node = _number(environment, "SLURM_GPUS_ON_NODE") or 0
    return (
        any(name in environment for name in ("SLURM_GPUS_PER_TASK", "SLURM_NTASKS_PER_GPU"))
        or "gpu" in environment.get("SLURM_TRES_PER_TASK", "")
        or bind.startswith(("single", "per_task", "map", "mask", "closest"))
        or (bool(visible) and on_node > len(visible.split(",")))
    )


def _tasks_of_host(environment: Environment, count: int) -> int:
    """Return how many tasks of a step run on this host; all of them if Slurm does not say otherwise."""
    node = _number(environment, "SLURM_NODEID") or 0
    for name in ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"):
        if name in environment:
            tasks = _expanded(environment[name])
            if tasks is None or node >= len(tasks):
                raise UsageError(
                    f"{name} is {environment[name]!r}, which says nothing of node {node}: start the ranks with srun"
                )
            return tasks[node]
    return min(count, _number(environment, "SLURM_NTASKS_PER_NODE") or count)


def _expanded(text: str) -> list[int] | None:
    """Read ``2(x3),1``: three nodes with two tasks each and one with one. None if it is something else."""
    counts = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if match is None:
            return None
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def _array_task(environment: Environment) -> Rank | None:
    """Return the rank of a task of a Slurm array, whose ids may begin anywhere and have any distance."""
    task = _number(environment, "SLURM_ARRAY_TASK_ID")
    if task is None:
        return None
    first, last = (_number(environment, f"SLURM_ARRAY_TASK_{name}") for name in ("MIN", "MAX"))
    count = _number(environment, "SLURM_ARRAY_TASK_COUNT")
    if count is None:
        raise UsageError(
            "SLURM_ARRAY_TASK_ID is set but SLURM_ARRAY_TASK_COUNT is not: Slurm sets both in the tasks of an array"
        )
    if count == 1:
        return Rank(launcher=SLURM_ARRAY)
    first = 0 if first is None else first
    if task < first or (last is not None and task > last):
        raise UsageError(
            f"SLURM_ARRAY_TASK_ID is {task}, outside of {first} to {last} by SLURM_ARRAY_TASK_MIN and _MAX: "
            "unset them if this process is no task of an array"
        )
    span = (count - 1 if last is None else last - first) / (count - 1)
    even = span >= 1 and span.is_integer() and (task - first) % span == 0
    return Rank(
        index=int((task - first) // span) if even else count + task - first,  # different from all even ones
        count=count,
        launcher=SLURM_ARRAY,
        job=f"slurm array {job_id}" if (job_id := environment.get("SLURM_ARRAY_JOB_ID")) else "",
        attempt=_number(environment, "SLURM_RESTART_COUNT") or 0,
        owns_devices=True,
    )


def _place(environment: Environment, index_name: str, count_name: str, launcher: str) -> tuple[int, int]:
    """Return a number and how many there are, from two variables."""
    index, count = (_number(environment, name) for name in (index_name, count_name))
    if index is None or count is None:
        there, missing = (index_name, count_name) if count is None else (count_name, index_name)
        raise UsageError(f"{there} is set but {missing} is not: {launcher} sets both; unset it if it is not used")
    if index >= count:
        raise UsageError(
            f"{index_name} is {index} but {count_name} is {count}, so the last one is {count - 1}: start the ranks "
            f"with {launcher}, which sets both, or unset them"
        )
    return index, count


def _number(environment: Environment, *names: str) -> int | None:
    """Return the first of some variables that is set, as a whole number of 0 or more; None if none is set."""
    for name in names:
        text = environment.get(name)
        if text is not None:
            if not (text.isascii() and text.isdecimal()):
                raise UsageError(f"{name} is {text!r}, which is not a whole number: correct or unset it")
            return int(text)
    return None


def _listed(names: list[str]) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"
