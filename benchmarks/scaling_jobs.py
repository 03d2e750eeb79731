# SPDX-License-Identifier: MIT
"""Embed jobs as a user starts them, on one card and on several: how long they take, and whether they write the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from numpy.typing import NDArray

from virnuc_profiler import aggregate_telemetry_shards, open_embeddings, predict_embedding
from virnuc_profiler.embed.manifest.manifest_files import read_manifests
from virnuc_profiler.targets.knobs.configuration import Configuration
from virnuc_profiler.telemetry.checked_lines import decode_lines
from virnuc_profiler.telemetry.reader import read_telemetry

GPUS: Final = "--gpus"
RANKS: Final = "--ranks"
TORCHRUN: Final = "torchrun"
RAY: Final = "Ray"

_EMBED: Final = ("-m", "virnuc_profiler", "embed")


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What all jobs have in common.

    Attributes:
        fasta: File of the sequences.
        model: Name of the model.
        configuration: Values of the knobs.
        cards: Entries of CUDA_VISIBLE_DEVICES; as many None on the CPU.
        num_shards: Number of shards; None for that which ``embed`` chooses.
    """

    fasta: Path
    model: str
    configuration: Configuration
    cards: tuple[str | None, ...]
    num_shards: int | None = None

    @property
    def on_gpus(self) -> bool:
        """Whether the jobs run on GPUs."""
        return self.cards[0] is not None

    def command(self, folder: Path) -> list[str]:
        """Return the options of ``embed`` for a folder."""
        knobs = self.configuration.values()
        chosen = [
            f"--{name.replace('_', '-')}={knobs[name]}" for name in ("num_workers", "token_budget", "buffer_size")
        ]
        shards = [] if self.num_shards is None else [f"--shards={self.num_shards}"]
        return [
            *("--fasta", str(self.fasta), "--model", self.model, "--weights", "random"),
            *("--output-dir", str(folder), "--device", "cuda" if self.on_gpus else "cpu", *chosen, *shards),
        ]


@dataclass(frozen=True, slots=True)
class JobFigures:
    """How a job went.

    Attributes:
        launcher: What started its ranks.
        ranks: Number of ranks.
        command_s: Seconds from the start of the command to its end: imports, loading and the check included.
        scaling: What the report says of its ranks, from the first start of a run to the last batch.
        uuids: Card that the telemetry of each rank names; None on the CPU.
        watts: Mean power of each rank's card.
        predicted: Seconds, tail share and efficiency that were predicted from one rank; None for that rank itself.
    """

    launcher: str
    ranks: int
    command_s: float
    scaling: dict[str, Any]
    uuids: tuple[str | None, ...]
    watts: tuple[float | None, ...]
    predicted: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class KilledJob:
    """What killing one rank has done to a job.

    Attributes:
        exit_code: Exit code of the launcher.
        shards: Number of the job's shards.
        finished_before: Shards that were finished when the rank was killed.
        repeated: Shards that the manifests record more than once.
        seconds: Seconds from the kill to the end of the command.
        resumed: Whether the command had to be started again.
    """

    exit_code: int
    shards: int
    finished_before: int
    repeated: int
    seconds: float
    resumed: bool = False


def run_job(
    options: JobOptions, folder: Path, launcher: str, ranks: int, baseline: float | None = None
) -> tuple[JobFigures, NDArray[Any]]:
    """Run a job to its end, and return its figures and its vectors in the order of the file.

    Args:
        options: The job.
        folder: Its folder, which does not exist.
        launcher: What starts the ranks.
        ranks: Number of ranks.
        baseline: Rate of one rank alone, tokens/s, for the efficiency.
    """
    command, environment = _launch(options, folder, launcher, ranks)
    started = time.monotonic()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seconds = time.monotonic() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return figures_of(folder, launcher, seconds, baseline), vectors_of(folder)


def figures_of(folder: Path, launcher: str, seconds: float, baseline: float | None) -> JobFigures:
    """Read the figures of a finished job from its telemetry.

    Args:
        folder: Folder of the job.
        launcher: What started its ranks.
        seconds: Seconds that the command took.
        baseline: Rate of one rank alone, tokens/s.
    """
    paths = sorted((folder / "telemetry").glob("telemetry_*.json"))
    documents = [read_telemetry(path) for path in paths]
    job = aggregate_telemetry_shards(paths, baseline_tokens_per_sec=baseline)
    return JobFigures(
        launcher=launcher,
        ranks=len(paths),
        command_s=seconds,
        scaling=job["scaling"],
        uuids=tuple(each["run_metadata"]["device_capture"].get("uuid") for each in documents),
        watts=tuple(each["summary"].get("mean_power_watts") for each in documents),
    )


def predict(options: JobOptions, alone: Path, ranks: int) -> dict[str, float]:
    """Predict seconds, tail share and efficiency of a job from the folder of the same job in one rank.

    Args:
        options: The job.
        alone: Folder of the job in one rank.
        ranks: Number of ranks.
    """
    (found,) = predict_embedding(
        options.fasta, alone, [ranks], model=options.model, configuration=options.configuration,
        num_shards=options.num_shards,
    ).forecasts  # fmt: skip
    return {
        "seconds": found.wall_s.middle,
        "low_seconds": found.wall_s.low,
        "high_seconds": found.wall_s.high,
        "tail_share": found.tail_share.middle,
        "efficiency_percent": found.efficiency_percent.middle,
    }


def kill_a_rank(options: JobOptions, folder: Path, ranks: int, source: random.Random) -> KilledJob:
    """Kill one rank of a job with SIGKILL in the middle, and let the job come to its end.

    Args:
        options: The job.
        folder: Its folder, which does not exist.
        ranks: Number of ranks.
        source: Chooses the rank and the moment.
    """
    command, environment = _launch(options, folder, GPUS if options.on_gpus else RANKS, ranks)
    with (folder.parent / f"{folder.name}.log").open("w") as log:
        launcher = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        wanted = 1 + source.randrange(3)
        while launcher.poll() is None and len(_records(folder)) < wanted:
            time.sleep(0.02)
        with suppress(psutil.Error):
            victims = [one for one in psutil.Process(launcher.pid).children() if "embed" in one.cmdline()]
            if victims:
                source.choice(victims).send_signal(signal.SIGKILL)
        finished, killed = len(_records(folder)), time.monotonic()
        code = launcher.wait()
        resumed = code != 0
        if resumed:
            code = subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT).returncode
    records = _records(folder)
    shards = len(read_manifests(folder))
    repeated = len(records) - len(set(records))
    return KilledJob(code, shards, finished, repeated, time.monotonic() - killed, resumed)


def vectors_of(folder: Path) -> NDArray[Any]:
    """Return the vectors of a job in the order of the file."""
    return open_embeddings(folder).to_numpy()


def differences(found: NDArray[Any], expected: NDArray[Any]) -> dict[str, float]:
    """Return how the vectors of two jobs differ. Packs depend on who claims what, and sums of a pack on its size.

    Args:
        found: (n, hidden_size) vectors.
        expected: (m, hidden_size) vectors of the same sequences.
    """
    if found.shape != expected.shape:
        return {"missing": float(abs(len(found) - len(expected)))}
    one, other = found.astype(np.float64), expected.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return {
        "missing": 0.0,
        "equal_share": float((found == expected).all(axis=1).mean()),
        "lowest_cosine": float(((one * other).sum(axis=1) / lengths).min()),
    }


def _launch(options: JobOptions, folder: Path, launcher: str, ranks: int) -> tuple[list[str], Mapping[str, str]]:
    """Return the command that starts a job, and its environment."""
    cards = options.cards[:ranks]
    visible = ",".join(card or "" for card in cards) if options.on_gpus else ""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": visible}
    wanted = options.command(folder)
    if launcher == TORCHRUN:
        run = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks))
        return [sys.executable, *run, *_EMBED, *wanted], environment
    if launcher == RAY:
        return [sys.executable, *_EMBED, *wanted, "--engine", "ray"], environment
    if ranks > 1:
        device = wanted.index("--device")
        wanted[device : device + 2] = [GPUS, "all"] if options.on_gpus else [RANKS, str(ranks)]
    return [sys.executable, *_EMBED, *wanted], environment


def _records(folder: Path) -> Sequence[int]:
    """Return the number of each finished shard as often as the manifests record it."""
    paths = sorted((folder / "manifest").glob("rank_*.jsonl"))
    return [
        entry["shard"] for path in paths for _, entry in decode_lines(path.read_bytes()).entries if "shard" in entry
    ]
