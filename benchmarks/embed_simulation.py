# SPDX-License-Identifier: MIT
"""Compare the predicted tail and scaling efficiency of embed jobs of several ranks with what their reports say.

The jobs are real: processes that claim shards in a folder, run them, write them and record telemetry. Only their model
is none: it sleeps in proportion to its FLOPs, so that four ranks on two cores are like four devices. A job of one rank
gives the pace. The job of an unequal pace is predicted with the paces that its ranks have; all others with nothing but
the telemetry of the one rank.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.support.fasta_files import random_records, write_fasta
from tests.support.paced_embed import SHAPE, PacedJob

from benchmarks.claim import Claim
from benchmarks.progress import say
from benchmarks.report import parser, publish, publish_claims
from virnuc_profiler import aggregate_telemetry_shards
from virnuc_profiler.analysis.model_cost import forward_flops
from virnuc_profiler.analysis.projection.rank_simulation import RankPace, simulate_ranks
from virnuc_profiler.embed.job_forecast import forecast_job, shard_works, start_times
from virnuc_profiler.embed.measured_ranks import read_measured
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.plan.workload import token_counts

SEQUENCES: Final = 2000
POINTS: Final = 5.0
"""Largest difference between prediction and measurement, percentage points."""
HEADER: Final = ("ranks", "shards", "paces", "time", "measured", "tail", "measured", "efficiency", "measured")


@dataclass(frozen=True, slots=True)
class Case:
    """A job, what was predicted of it, and what its report says. Tail and efficiency are in percent."""

    shards: int
    slowness: tuple[float, ...]
    predicted_s: float
    measured_s: float
    predicted_tail: float
    measured_tail: float
    predicted_efficiency: float
    measured_efficiency: float

    @property
    def largest_difference(self) -> float:
        """Larger difference of the two figures, percentage points."""
        return max(
            abs(self.predicted_tail - self.measured_tail), abs(self.predicted_efficiency - self.measured_efficiency)
        )


def main() -> None:
    """Print predictions and measurements, and the verdict."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        cases = run_cases(Path(folder), arguments.seconds, arguments.seed)
    publish(
        "Predicted embed jobs", HEADER, [_row(case) for case in cases], [asdict(case) for case in cases], arguments.json
    )
    publish_claims([claim_of(cases)])


def parse_arguments() -> argparse.Namespace:
    """Read the options."""
    options = parser("Compare predictions of embed jobs of several ranks with their reports.")
    options.add_argument("--seconds", type=float, default=60.0, help="time of a job in one rank (default: 60)")
    options.add_argument("--seed", type=int, default=0, help="random seed of the sequences (default: 0)")
    return options.parse_args()


def claim_of(cases: list[Case]) -> Claim:
    """Return the claim and what was found."""
    worst = max(case.largest_difference for case in cases)
    return Claim(f"tail and efficiency are predicted within {POINTS:g} points", f"within {worst:.1f}", worst <= POINTS)


def run_cases(
    folder: Path, seconds: float, seed: int, shards: tuple[int, ...] = (13, 24, 60), ranks: tuple[int, ...] = (2, 4)
) -> list[Case]:
    """Run a job in one rank, predict jobs of several ranks from it, and run them.

    Args:
        folder: Empty folder for the jobs.
        seconds: Time of a job in one rank.
        seed: Random seed of the sequences.
        shards: Numbers of shards.
        ranks: Numbers of ranks.
    """
    fasta = write_fasta(folder / "sequences.faa", random_records(SEQUENCES, longest=60, seed=seed))
    tokens = token_counts(FastaFile.open(fasta))
    pace = forward_flops(int(tokens.sum()), int((tokens**2).sum()), SHAPE) / seconds
    one = PacedJob(str(fasta), str(folder / "one"), max(shards), pace)
    one.run()
    say("one rank")
    baseline = _scaling(one)["tokens_per_sec"]
    slow = (1.0,) * (max(ranks) - 1) + (2.0,)
    cases = []
    for count, slowness in [*((each, (1.0,) * of) for each in shards for of in ranks), (max(shards), slow)]:
        job = replace(one, folder=str(folder / f"job_{len(cases)}"), num_shards=count, slowness=slowness)
        predicted_s, tail, efficiency = _predicted(one, job, tokens)
        job.run()
        scaling = _scaling(job, baseline)
        measured = (100 * scaling["tail_share"], scaling["efficiency_percent"])
        cases.append(Case(count, slowness, predicted_s, scaling["seconds"], tail, measured[0], efficiency, measured[1]))
        say(f"{len(slowness)} ranks, {count} shards: within {cases[-1].largest_difference:.1f} points")
    return cases


def _predicted(one: PacedJob, job: PacedJob, tokens: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Return seconds, tail and efficiency, both in percent."""
    measured, count = read_measured(Path(one.folder)), len(job.slowness)
    before_s = measured.source.before_s or 0.0
    if len(set(job.slowness)) == 1:
        forecast = forecast_job(measured, job.shards, tokens, SHAPE, [count], configuration=job.configuration)
        (found,) = forecast.forecasts
        return (found.wall_s.middle - before_s, 100 * found.tail_share.middle, found.efficiency_percent.middle)
    steady_s = float(tokens.sum()) / measured.source.pace.tokens_per_sec
    works = shard_works(job.shards, steady_s, job.configuration, by_cost=True)
    start_up_s = start_times(measured.source, job.configuration).start_up_s
    run = simulate_ranks(works, [RankPace(0.0, start_up_s, slowness) for slowness in job.slowness])
    alone_s = start_up_s + steady_s
    return run.seconds, 100 * run.tail_share, 100 * alone_s / (count * run.seconds)


def _scaling(job: PacedJob, baseline: float | None = None) -> dict[str, Any]:
    scaling: dict[str, Any] = aggregate_telemetry_shards(job.telemetry, baseline_tokens_per_sec=baseline)["scaling"]
    return scaling


def _row(case: Case) -> tuple[str, ...]:
    paces = "equal" if len(set(case.slowness)) == 1 else "one of them half"
    times = (f"{case.predicted_s:.1f} s", f"{case.measured_s:.1f} s")
    shares = (case.predicted_tail, case.measured_tail, case.predicted_efficiency, case.measured_efficiency)
    return (str(len(case.slowness)), str(case.shards), paces, *times, *(f"{share:.1f} %" for share in shares))


if __name__ == "__main__":
    main()
