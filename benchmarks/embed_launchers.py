# SPDX-License-Identifier: MIT
"""Run one embed job under every launcher that people have, and compare what they write with what one process writes.

The launchers: ``torchrun`` with 2 and with 4 ranks, ``--ranks``, tasks of ``srun`` and of a Slurm array by their
variables, submitit's own processes, and a Ray cluster of two nodes. Each runs the real command on the CPU. The claims:
the vectors are equal, each sequence has one, each rank has a telemetry file of its own, and their aggregate counts all
sequences.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from tests.support.embed_outputs import finished_shards, vectors_of
from tests.support.fasta_files import random_records, write_fasta
from tests.support.ray_nodes import ray_nodes

from benchmarks.claim import Claim
from benchmarks.progress import say
from benchmarks.report import parser, publish, publish_claims
from virnuc_profiler import aggregate_telemetry_shards
from virnuc_profiler.embed.job import read_job
from virnuc_profiler.embed.verify import verify_job

HEADER: Final = ("launcher", "ranks", "seconds", "largest difference", "each id once", "telemetry files", "aggregate")

_EMBED: Final = ("-m", "virnuc_profiler", "embed")
_TORCHRUN: Final = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
_SUBMITIT: Final = Path(__file__).parents[1] / "docs" / "examples" / "submitit_embed.py"

Environment = dict[str, str]


@dataclass(frozen=True)
class Outcome:
    """What the ranks of a launcher have done."""

    launcher: str
    ranks: int
    seconds: float
    difference: float
    once: int
    shards_once: bool
    telemetry: int
    aggregate: int


@dataclass(frozen=True)
class Job:
    """The job, which every launcher runs in a folder of its own."""

    fasta: Path
    count: int
    shards: int

    def options(self, folder: Path) -> tuple[str, ...]:
        """Return the options of the command."""
        return (
            f"--fasta={self.fasta}", f"--output-dir={folder}", "--model=8M", "--weights=random", "--format=safetensors",
            f"--shards={self.shards}", "--num-workers=1", "--token-budget=2048",
        )  # fmt: skip


def main() -> None:
    """Print what every launcher has done, and the verdicts."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run_launchers(Path(folder), arguments.num_sequences, arguments.shards, arguments.only)
    rows = [
        (
            one.launcher, str(one.ranks), f"{one.seconds:.1f}", f"{one.difference:.1e}", f"{one.once:,}",
            str(one.telemetry), f"{one.aggregate:,} sequences",
        )
        for one in outcomes
    ]  # fmt: skip
    title = f"One job of {arguments.num_sequences:,} sequences, ESM-2 8M with random weights, under each launcher"
    publish(title, HEADER, rows, [asdict(one) for one in outcomes], arguments.json)
    publish_claims(claims_of(outcomes, arguments.num_sequences))


def parse_arguments() -> argparse.Namespace:
    """Read the options."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--num-sequences", type=int, default=2000)
    options.add_argument("--shards", type=int, default=24)
    options.add_argument("--only", nargs="*", choices=LAUNCHERS, default=list(LAUNCHERS), help="run these launchers")
    return options.parse_args()


def claims_of(outcomes: Sequence[Outcome], count: int) -> list[Claim]:
    """Return the claims and what was found."""
    largest = max(one.difference for one in outcomes)
    fewest = min(one.once for one in outcomes)
    return [
        Claim("the vectors equal those of one process", f"largest difference {largest:.1e}", largest == 0),
        Claim(
            "each sequence has one vector, and each shard one record",
            f"at least {fewest:,} of {count:,}",
            all(one.once == count and one.shards_once for one in outcomes),
        ),
        Claim(
            "each rank has a telemetry file of its own",
            ", ".join(f"{one.telemetry} of {one.ranks}" for one in outcomes),
            all(one.telemetry == one.ranks for one in outcomes),
        ),
        Claim(
            "the aggregate counts every sequence once",
            ", ".join(f"{one.aggregate:,}" for one in outcomes),
            all(one.aggregate == count for one in outcomes),
        ),
    ]


def run_launchers(folder: Path, count: int, shards: int, names: Sequence[str]) -> list[Outcome]:
    """Run the job in one process, and then under each launcher.

    Args:
        folder: Empty folder for the jobs.
        count: Number of sequences.
        shards: Number of shards.
        names: Names of the launchers.
    """
    job = Job(write_fasta(folder / "sequences.faa", random_records(count, longest=60)), count, shards)
    subprocess.run([sys.executable, *_EMBED, *job.options(folder / "one"), "--device=cpu"], env=_environment(),
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    expected = vectors_of(folder / "one")
    outcomes = []
    for number, name in enumerate(names):
        out = folder / f"job_{number}"
        began = time.monotonic()
        ranks = LAUNCHERS[name](job, out)
        if not ranks:
            say(f"{name}: not installed")
            continue
        outcomes.append(_outcome(name, ranks, time.monotonic() - began, out, expected))
        say(f"{name}: {outcomes[-1].seconds:.1f} s")
    return outcomes


def _outcome(name: str, ranks: int, seconds: float, folder: Path, expected: np.ndarray) -> Outcome:
    job = read_job(folder)
    assert job is not None
    paths = sorted((folder / "telemetry").glob("telemetry_*.json"))
    summary = aggregate_telemetry_shards(paths)["global_summary"]
    return Outcome(
        launcher=name,
        ranks=ranks,
        seconds=seconds,
        difference=float(np.abs(vectors_of(folder) - expected).max()),
        once=verify_job(folder, job).once,
        shards_once=finished_shards(folder) == list(range(job.num_shards)),
        telemetry=len(paths),
        aggregate=summary["total_sequences"],
    )


def _environment(**variables: str) -> Environment:
    return {**os.environ, "OMP_NUM_THREADS": "1", **variables}


def _torchrun(ranks: int, job: Job, folder: Path) -> int:
    command = [*_TORCHRUN, str(ranks), *_EMBED, *job.options(folder), "--device=cpu"]
    subprocess.run(command, env=_environment(), check=True, stdout=subprocess.DEVNULL)
    return ranks


def _own(job: Job, folder: Path) -> int:
    command = [sys.executable, *_EMBED, *job.options(folder), "--ranks=3"]
    subprocess.run(command, env=_environment(), check=True, stdout=subprocess.DEVNULL)
    return 3


def _slurm(variables: Callable[[int, int], Environment], job: Job, folder: Path) -> int:
    command = [sys.executable, *_EMBED, *job.options(folder), "--device=cpu"]
    tasks = [
        subprocess.Popen(command, env=_environment(**variables(rank, 3)), stdout=subprocess.DEVNULL)
        for rank in range(3)
    ]
    codes = [task.wait() for task in tasks]
    if any(codes):
        raise RuntimeError(f"the tasks ended with the exit codes {codes}")
    return 3


def _srun_variables(rank: int, ranks: int) -> Environment:
    return {
        "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": str(rank), "SLURM_NTASKS": str(ranks),
        "SLURM_LOCALID": str(rank), "SLURM_STEP_TASKS_PER_NODE": str(ranks),
    }  # fmt: skip


def _array_variables(rank: int, ranks: int) -> Environment:
    return {
        "SLURM_JOB_ID": str(7 + rank), "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(rank),
        "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": str(ranks - 1), "SLURM_ARRAY_TASK_COUNT": str(ranks),
    }  # fmt: skip


def _submitit(job: Job, folder: Path) -> int:
    if find_spec("submitit") is None:
        return 0
    command = [sys.executable, str(_SUBMITIT), "--cluster=local", "--tasks-per-node=2", "--gpus-per-task=0"]
    command += [f"--logs={folder}_logs", "--", *job.options(folder), "--device=cpu"]
    subprocess.run(command, env=_environment(), check=True, stdout=subprocess.DEVNULL)
    return 2


def _ray(job: Job, folder: Path) -> int:
    if find_spec("ray") is None:
        return 0
    with ray_nodes(2) as nodes:
        command = [sys.executable, *_EMBED, *job.options(folder), "--engine=ray", f"--ray-address={nodes.address}"]
        subprocess.run(command, env=_environment(), check=True, stdout=subprocess.DEVNULL)
    return 2


LAUNCHERS: Final[dict[str, Callable[[Job, Path], int]]] = {
    "torchrun, 2 ranks": lambda job, folder: _torchrun(2, job, folder),
    "torchrun, 4 ranks": lambda job, folder: _torchrun(4, job, folder),
    "embed --ranks 3": _own,
    "srun, 3 tasks": lambda job, folder: _slurm(_srun_variables, job, folder),
    "a Slurm array of 3": lambda job, folder: _slurm(_array_variables, job, folder),
    "submitit, 2 tasks": _submitit,
    "Ray, 2 nodes": _ray,
}


if __name__ == "__main__":
    main()
