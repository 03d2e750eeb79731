# SPDX-License-Identifier: MIT
"""Kill the ranks of embed jobs at random moments, start the same command again, and check that nothing is lost.

Killed are: one rank of several that ``srun`` would have started, all of them, and the launcher of this program, with
which its ranks end; with ``--ray``, also an actor on a Ray cluster of two nodes, its rank alone, and the driver. A
rank that was killed alone leaves its shard to the others. When a job is complete, the next one begins, until as many
processes were killed as asked for. The claims: a shard that was recorded before a kill keeps its record, each shard has
one record in the manifests, the vectors are those of one undisturbed process, and what a killed rank had computed in
vain is at most one shard, besides what it computed while that shard was being written.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from typing import Final

import numpy as np
import psutil
from tests.support.embed_outputs import finished_shards, shards_by_rank, vectors_of
from tests.support.embed_rank import LOG_FOLDER, NUM_SHARDS, SHARD_SECONDS
from tests.support.fasta_files import random_records, write_fasta
from tests.support.ray_nodes import ray_nodes

from benchmarks.claim import Claim
from benchmarks.progress import say
from benchmarks.report import parser, publish, publish_claims

SRUN_KINDS: Final = ("a rank", "all ranks")
LAUNCHER: Final = "the launcher"
RAY_KINDS: Final = ("a Ray actor", "the rank of a Ray actor", "the driver of Ray")
KINDS: Final = (*SRUN_KINDS, LAUNCHER, *RAY_KINDS)
HEADER: Final = ("killed", "kills", "shards computed in vain, mean", "highest")

_PROGRAM: Final = (sys.executable, "-m", "tests.support.embed_rank")
_ON_RAY: Final = (sys.executable, "-m", "tests.support.ray_nodes")


@dataclass
class Outcome:
    """What kills have done."""

    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    in_vain: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    repeated: int = 0
    undone: int = 0  # shards that were recorded before a kill, and were not, or by another rank, after it
    jobs: int = 0
    equal: bool = True

    @property
    def count(self) -> int:
        """Number of kills so far."""
        return sum(self.kills.values())


def main() -> None:
    """Print what was lost, and the verdicts."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        nodes = stack.enter_context(ray_nodes(2, cpus=arguments.ranks)) if arguments.ray else None
        address = None if nodes is None else nodes.address
        outcome = run_kills(Path(folder), arguments.kills, arguments.ranks, arguments.seed, address)
    rows = [
        (kind, str(outcome.kills[kind]), f"{mean(lost):.2f}" if lost else "n/a", f"{max(lost, default=0):.2f}")
        for kind, lost in outcome.in_vain.items()
        if outcome.kills[kind]
    ]
    publish("Kills of embed jobs", HEADER, rows, asdict(outcome), arguments.json)
    publish_claims(claims_of(outcome))


def parse_arguments() -> argparse.Namespace:
    """Read the options."""
    options = parser("Kill the ranks of embed jobs at random moments, and check that nothing is lost.")
    options.add_argument("--kills", type=int, default=50, help="number of kills (default: 50)")
    options.add_argument("--ranks", type=int, default=2, help="number of ranks (default: 2)")
    options.add_argument("--ray", action="store_true", help="also kill actors and drivers on two Ray nodes")
    options.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    return options.parse_args()


def claims_of(outcome: Outcome) -> list[Claim]:
    """Return the claims and what was found."""
    highest = max(lost for kind in KINDS for lost in (0.0, *outcome.in_vain[kind]))
    return [
        Claim("what was recorded stays so", f"{outcome.undone} of the shards were done again", not outcome.undone),
        Claim("no shard is recorded twice", f"{outcome.repeated} in {outcome.jobs} jobs", not outcome.repeated),
        Claim("the vectors are those of one process", "equal" if outcome.equal else "different", outcome.equal),
        Claim(
            "a killed rank has computed at most one shard in vain, besides what ran while that was written",
            f"at most {highest:.2f}",
            highest < 2,
        ),
    ]


def run_kills(folder: Path, kills: int, ranks: int, seed: int, ray_address: str | None = None) -> Outcome:
    """Kill processes of one job after the other.

    Args:
        folder: Empty folder for the jobs.
        kills: Number of kills.
        ranks: Number of ranks of each job.
        seed: Random seed.
        ray_address: Address of a Ray cluster on this host; None to kill nothing on Ray.
    """
    kinds = KINDS if ray_address is not None else (*SRUN_KINDS, LAUNCHER)
    source = random.Random(seed)
    fasta = write_fasta(folder / "sequences.faa", random_records(2000, longest=60))
    subprocess.run([*_PROGRAM, fasta, folder / "one"], check=True, stdout=subprocess.DEVNULL)
    expected = vectors_of(folder / "one")
    outcome = Outcome()
    while outcome.count < kills:
        job = folder / f"job_{outcome.jobs}"
        while len(set(finished_shards(job))) < NUM_SHARDS:
            kind = source.choice(kinds) if outcome.count < kills else None
            before = shards_by_rank(job)
            _run(fasta, job, ranks, kind, source, outcome, ray_address)
            after = shards_by_rank(job)
            outcome.undone += sum(after.get(rank, [])[: len(shards)] != shards for rank, shards in before.items())
        shards = finished_shards(job)
        outcome.jobs += 1
        outcome.repeated += len(shards) - len(set(shards))
        outcome.equal &= bool(np.array_equal(vectors_of(job), expected))
        say(f"{outcome.count} kills, {outcome.jobs} jobs complete")
    return outcome


def _run(
    fasta: Path,
    job: Path,
    ranks: int,
    kind: str | None,
    source: random.Random,
    outcome: Outcome,
    ray_address: str | None,
) -> None:
    """Start the command once, kill something unless `kind` is None, and wait until everything has ended."""
    environment = {**os.environ, SHARD_SECONDS: "0.15"}
    if kind in RAY_KINDS:
        command = [*_ON_RAY, str(ray_address), fasta, job, str(ranks)]
        processes = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)]
    elif kind == LAUNCHER:
        processes = [subprocess.Popen([*_PROGRAM, fasta, job, str(ranks)], env=environment, stdout=subprocess.DEVNULL)]
    else:
        processes = [
            subprocess.Popen([*_PROGRAM, fasta, job], env={**environment, **srun}, stdout=subprocess.DEVNULL)
            for srun in _srun(ranks)
        ]
    if kind is not None:
        before = set(_logs(job))
        while not set(_logs(job)) - before and any(process.poll() is None for process in processes):
            time.sleep(0.01)
        time.sleep(source.uniform(0.0, 1.5))
        living = [int(log.stem) for log in set(_logs(job)) - before if _lives(int(log.stem))]
        if kind == "a rank":
            _kill([source.choice(processes)], kind, outcome)
        elif kind in RAY_KINDS[:2]:
            _kill_on_ray(source.choice(living) if living else None, kind, outcome)
        else:
            _kill(processes, kind, outcome)
    for process in processes:
        process.wait()
    while any(_lives(int(log.stem)) for log in _logs(job)):  # the kernel ends the ranks of a killed launcher
        time.sleep(0.01)
    for log in _logs(job):
        if not log.with_suffix(".seen").exists():
            log.with_suffix(".seen").touch()
            shards = _in_vain(log)
            if kind is not None and shards is not None:
                outcome.in_vain[kind].append(shards)


def _kill(processes: list[subprocess.Popen[bytes]], kind: str, outcome: Outcome) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            outcome.kills[kind] += 1


def _kill_on_ray(rank: int | None, kind: str, outcome: Outcome) -> None:
    """Kill a rank that an actor has started, or its actor, which is its parent."""
    with suppress(psutil.NoSuchProcess):
        if rank is not None:
            process = psutil.Process(rank)
            (process if kind == RAY_KINDS[1] else process.parent()).kill()
            outcome.kills[kind] += 1


def _srun(ranks: int) -> Iterator[dict[str, str]]:
    for rank in range(ranks):
        yield {"SLURM_PROCID": str(rank), "SLURM_NTASKS": str(ranks), "SLURM_LOCALID": str(rank)}


def _logs(job: Path) -> list[Path]:
    return sorted((job / LOG_FOLDER).glob("*.log"))


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _in_vain(log: Path) -> float | None:
    """Return the shards' worth of sequences that a rank had computed and not recorded; None if it was not killed."""
    delivered, recorded, ended = 0, 0, False
    for line in log.read_text().splitlines():
        what, _, count = line.partition(" ")
        delivered = int(count) if what == "delivered" else delivered
        recorded += int(count) if what == "recorded" else 0
        ended |= what == "ended"
    return None if ended else (delivered - recorded) / (2000 / NUM_SHARDS)


if __name__ == "__main__":
    main()
