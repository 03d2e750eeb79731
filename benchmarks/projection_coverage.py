# SPDX-License-Identifier: MIT
"""Check the interval of a projection: short runs, each followed by a run of many times as many sequences.

Each run is a process of its own, as ``profile`` starts it. Short and long runs have different sequences. The claim: the
interval of each short run's projection contains the time that the long run takes.

With ``--table``, nothing is measured: each configuration that a table of trials has in two blocks or more is projected
from each of its trials to each other one.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import Final

from benchmarks.claim import Claim
from benchmarks.progress import say
from benchmarks.report import parser, publish
from benchmarks.trial_rows import KNOBS, rows_of
from virnuc_profiler.analysis.projection.extrapolation import Job
from virnuc_profiler.analysis.projection.job_time import Pace, interval_of_hours
from virnuc_profiler.reports.projection_text import project_source
from virnuc_profiler.sweep.results.projection_source import read_source
from virnuc_profiler.telemetry.run_result import RunResult

RATES: Final = ("tokens_per_sec", "tokens_per_sec_low", "tokens_per_sec_high")
HEADER: Final = ("try", "projected", "interval", "half-width", "real run", "real / projected", "inside")


@dataclass(frozen=True)
class Try:
    """A projection and the run that it is about.

    Attributes:
        projected_s: Projected seconds.
        low_s: Lower end of their interval.
        high_s: Upper end of their interval.
        real_s: Seconds that the run took.
    """

    projected_s: float
    low_s: float
    high_s: float
    real_s: float

    @property
    def inside(self) -> bool:
        """Whether the interval contains the run."""
        return self.low_s <= self.real_s <= self.high_s


def main() -> None:
    """Measure and print each try, and the verdict."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--model", default="8M")
    options.add_argument("--device", default="auto")
    options.add_argument("--num-sequences", type=int, default=20_000, help="sequences of the short runs")
    options.add_argument("--factor", type=int, default=20, help="how many times as many the long runs have")
    options.add_argument("--tries", type=int, default=5)
    options.add_argument("--table", type=Path, help="CSV file of trials to check instead, see benchmarks.sweep_surface")
    arguments = options.parse_args()
    if arguments.table is not None:
        found = pairs_inside(rows_of(arguments.table))
        print(f"{sum(found)} of {len(found)} trials are within the interval of another trial of their configuration")
        return
    tries = []
    for number in range(arguments.tries):
        with tempfile.TemporaryDirectory() as folder:
            count = arguments.num_sequences
            common = ("--model", arguments.model, "--device", arguments.device, "--seed", str(2 * number))
            short = profiled(Path(folder) / "short", *common, "--num-sequences", str(count))
            common = (*common[:-1], str(2 * number + 1))
            long = profiled(Path(folder) / "long", *common, "--num-sequences", str(arguments.factor * count))
            tries.append(compared(short, long))
        say(f"try {number + 1}: {'inside' if tries[-1].inside else 'outside'}")
    title = f"Projections of {arguments.model} from {arguments.num_sequences:,} to {arguments.factor} times as many"
    publish(title, HEADER, cells(tries), [asdict(each) for each in tries], arguments.json)
    inside = sum(each.inside for each in tries)
    claim = Claim("every interval contains the run", f"{inside} of {len(tries)}", inside == len(tries))
    print(f"\n{claim.text}: {claim.measured}, {claim.verdict}")
    sys.exit(0 if claim.holds else 1)


def profiled(folder: Path, *options: str) -> Path:
    """Run ``profile`` in a process of its own, and return the saved run."""
    command = [sys.executable, "-m", "virnuc_profiler", "profile", "--output-dir", str(folder), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (run,) = folder.glob("run_*.json")
    return run


def compared(short: Path, long: Path) -> Try:
    """Project a run to the sequences of another, and compare with the time that the other took.

    Args:
        short: Saved run to project.
        long: Saved run that the projection is about.
    """
    source, real = read_source(short), read_source(long)
    job = Job(real.lengths, str(real.workload.get("fingerprint")))
    time = project_source(source, job, "of the long run", real.lengths.total_sequences).time
    elapsed_s = RunResult.load(long, max_bytes=sys.maxsize).elapsed_s
    return Try(3600 * time.hours, 3600 * time.low_hours, 3600 * time.high_hours, elapsed_s)


def pairs_inside(rows: Iterable[Mapping[str, str]]) -> list[bool]:
    """Return whether each trial is within the interval that another trial of its configuration gives.

    Args:
        rows: Rows of a table of trials.
    """
    paces: dict[tuple[str, ...], list[Pace]] = {}
    for row in rows:
        if row["tokens_per_sec"] and row["outcome"] == "ok":
            rate, *ends = (float(row[name] or "nan") for name in RATES)
            own = (ends[1] - ends[0]) / (2 * rate)
            pace = Pace(rate, 0.0, None if math.isnan(own) else own, float(row["measured_sec"]))
            paces.setdefault(tuple(row[name] for name in KNOBS), []).append(pace)
    found = []
    for trials in paces.values():
        for one, other in permutations(trials, 2):
            low, high = interval_of_hours(1 / one.tokens_per_sec, one)
            found.append(low <= 1 / other.tokens_per_sec <= high)
    return found


def cells(tries: Sequence[Try]) -> list[list[str]]:
    """Return a row of the table for each try."""
    return [
        [
            str(number),
            f"{each.projected_s:.2f} s",
            f"{each.low_s:.2f} to {each.high_s:.2f} s",
            f"{(each.high_s - each.low_s) / (2 * each.projected_s):.1%}",
            f"{each.real_s:.2f} s",
            f"{each.real_s / each.projected_s:.3f}",
            "yes" if each.inside else "no",
        ]
        for number, each in enumerate(tries, 1)
    ]


if __name__ == "__main__":
    main()
