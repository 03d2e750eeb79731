# SPDX-License-Identifier: MIT
"""Count how often the interval of a rate contains the long-run rate of synthetic batches.

The claim: wherever the noise is stationary, whatever its autocorrelation, 93 to 97 % of the 95 % intervals contain the
truth, at every length for which an interval is stated at all. Two cases are shown, but cannot hold for short runs: no
run knows of stalls or of modes that it has not met. Runs with drift have no long-run rate, and must be unsettled.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from benchmarks.batch_series import LENGTHS, NOISES, TRUE_RATE, Noise, make_series
from benchmarks.claim import Claim
from benchmarks.report import parser, publish, publish_claims
from virnuc_profiler.analysis.confidence.rate_interval import (
    SETTLED,
    TOO_SHORT,
    UNSETTLED,
    RateInterval,
    rate_interval,
)

MIN_COVERAGE, MAX_COVERAGE = 0.93, 0.97
HEADER: Final = ("noise", "batches", "coverage", "half-width", "settled", "unsettled", "too short", "false intervals")


@dataclass(frozen=True, slots=True)
class Figures:
    """What was found in series of one kind and length.

    Attributes:
        noise: Kind of noise.
        batches: Number of batches in each series.
        runs: Number of series.
        settled: Share of series with an interval.
        unsettled: Share of series that never settled.
        too_short: Share of series that were too short to tell.
        coverage: Share of the intervals that contain the truth; None without intervals.
        half_width: Mean relative half-width of the intervals; None without intervals.
    """

    noise: str
    batches: int
    runs: int
    settled: float
    unsettled: float
    too_short: float
    coverage: float | None
    half_width: float | None

    @property
    def false(self) -> float:
        """Share of all series whose interval misses the truth."""
        return 0.0 if self.coverage is None else self.settled * (1 - self.coverage)

    @property
    def error(self) -> float:
        """Binomial standard error of a coverage of 95 %; infinite without intervals."""
        return float(np.sqrt(0.95 * 0.05 / (self.settled * self.runs))) if self.settled else float("inf")


def main() -> None:
    """Print the table and the verdicts."""
    arguments = parse_arguments()
    rows = list(measure(arguments.runs, arguments.seed))
    publish(
        f"Coverage of 95 % intervals, {arguments.runs} series each, seed {arguments.seed}",
        HEADER,
        [cells(row) for row in rows],
        [asdict(row) for row in rows],
        arguments.json,
    )
    publish_claims(claims(rows))


def parse_arguments() -> argparse.Namespace:
    """Parse the options."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=1000, help="series for each row (default: 1000)")
    options.add_argument("--seed", type=int, default=18, help="random seed (default: 18)")
    options.add_argument("--quick", action="store_const", dest="runs", const=40, help="only 40 series for each row")
    return options.parse_args()


def measure(runs: int, seed: int) -> Iterator[Figures]:
    """Yield the figures of each kind of noise and each length."""
    for noise in NOISES:
        for batches in LENGTHS:
            random = np.random.default_rng([seed, *noise.name.encode(), batches])
            yield figures(noise, batches, [interval_of(noise, random, batches) for _ in range(runs)])


def interval_of(noise: Noise, random: np.random.Generator, batches: int) -> RateInterval:
    """Return the interval of a new series."""
    series = make_series(noise, random, batches)
    return rate_interval(series.times_ns, series.work, pass_ends=series.pass_ends)


def figures(noise: Noise, batches: int, found: list[RateInterval]) -> Figures:
    """Count the states, and the intervals that contain the truth."""
    runs = len(found)
    states = Counter(one.state for one in found)
    widths = [one.relative_half_width for one in found if one.relative_half_width is not None]
    right = sum(one.low <= TRUE_RATE <= one.high for one in found if one.low is not None and one.high is not None)
    return Figures(
        noise.name,
        batches,
        runs,
        states[SETTLED] / runs,
        states[UNSETTLED] / runs,
        states[TOO_SHORT] / runs,
        right / len(widths) if widths else None,
        float(np.mean(widths)) if widths else None,
    )


def claims(rows: list[Figures]) -> list[Claim]:
    """Return the claims, each decided by its worst row. A row may be off by two binomial errors."""
    by_name = {noise.name: noise for noise in NOISES}
    proven = [
        row
        for row in rows
        if row.coverage is not None and row.settled >= 0.5 and row.batches >= by_name[row.noise].enough
    ]
    low = min(proven, key=lambda row: (row.coverage or 0) + 2 * row.error)
    high = max(proven, key=lambda row: (row.coverage or 0) - 2 * row.error)
    steady = [row for row in rows if by_name[row.noise].stationary]
    short = max((row for row in steady if row.batches <= 20), key=lambda row: row.settled)
    drift = max((row for row in rows if not by_name[row.noise].stationary), key=lambda row: row.false)
    return [
        Claim("coverage >= 93 %", shown(low), (low.coverage or 0) + 2 * low.error >= MIN_COVERAGE),
        Claim("coverage <= 97 %", shown(high), (high.coverage or 0) - 2 * high.error <= MAX_COVERAGE),
        Claim("10 or 20 batches are too short to tell", f"{100 * short.settled:.1f} % settled", short.settled == 0),
        Claim("drift has false intervals in <= 5 %", f"{100 * drift.false:.1f} %", drift.false <= 0.05),
    ]


def shown(row: Figures) -> str:
    """Return a coverage with its binomial error, and the row that it comes from."""
    return f"{100 * (row.coverage or 0):.1f} ± {100 * row.error:.1f} % ({row.noise}; {row.batches} batches)"


def cells(row: Figures) -> tuple[str, ...]:
    """Return the cells of a row."""
    return (
        row.noise,
        str(row.batches),
        "" if row.coverage is None else f"{100 * row.coverage:.1f} ± {100 * row.error:.1f} %",
        "" if row.half_width is None else f"{100 * row.half_width:.2f} %",
        *(f"{100 * share:.0f} %" for share in (row.settled, row.unsettled, row.too_short)),
        f"{100 * row.false:.1f} %",
    )


if __name__ == "__main__":
    main()
