# SPDX-License-Identifier: MIT
"""How long a job takes on some number of ranks, with intervals, from many simulations of it.

What is not known is drawn again for each simulation: the pace of all ranks from its prediction interval, their start-up
from the range that projections allow for it, and the pace of each rank from how much ranks differ. The same draws serve
every number of ranks, so that numbers can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.projection.job_time import CONFIDENCE, START_UP_FACTOR
from virnuc_profiler.analysis.projection.rank_simulation import (
    NOTHING_AHEAD,
    RankPace,
    ReadAhead,
    ShardWork,
    SimulatedRun,
    simulate_ranks,
)
from virnuc_profiler.analysis.projection.source import Source

ASSUMED_LOG_SD: Final = 0.02
"""Standard deviation of the logarithm of the ranks' rates where no earlier job tells. An assumption, which is stated
beside every prediction that it is part of."""
DRAWS: Final = 200
MIN_DRAWS: Final = 40
MAX_CLAIMS: Final = 400_000
"""Claims that the simulations of one number of ranks may have, about a second of time; more shards mean fewer draws."""
_NORMAL: Final = 1.96


@dataclass(frozen=True, slots=True)
class RankSpread:
    """How much the ranks of a job differ.

    Attributes:
        log_sd: Standard deviation of the logarithm of their rates.
        measured_ranks: Number of ranks of the earlier job that tells so; 0 if it is assumed.
    """

    log_sd: float = ASSUMED_LOG_SD
    measured_ranks: int = 0


ASSUMED_SPREAD: Final = RankSpread()


@dataclass(frozen=True, slots=True)
class StartTimes:
    """What passes before a rank computes.

    Attributes:
        before_s: Time from the start of the process to that of its run: imports, loading the model, reading the file.
        start_up_s: Time from the start of its run until it computes at its pace.
    """

    before_s: float
    start_up_s: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its prediction interval.

    Attributes:
        middle: Median.
        low: Lower end.
        high: Upper end.
    """

    middle: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RankForecast:
    """What is expected of a job on some number of ranks.

    Attributes:
        ranks: Number of ranks.
        wall_s: Seconds from the start of the command to the end of the last shard.
        tail_share: Share of the ranks' time after their last shards, as in the report on a job.
        efficiency_percent: Rate as a percentage of that of as many single ranks of their mean rate, as in the report on
            a job.
        shards: Fewest and most shards of a rank, in the middle of the simulations.
        joules: Energy of all devices; None if the power is unknown.
    """

    ranks: int
    wall_s: Estimate
    tail_share: Estimate
    efficiency_percent: Estimate
    shards: tuple[int, int]
    joules: float | None

    @property
    def rank_hours(self) -> float:
        """Hours for which devices are taken, all together."""
        return self.ranks * self.wall_s.middle / 3600


@dataclass(frozen=True, slots=True)
class JobForecast:
    """What is expected of a job on several numbers of GPUs.

    Attributes:
        source: What the pace was measured with.
        num_shards: Number of shards that are left.
        forecasts: What is expected for each number of GPUs.
        assumptions: What the prediction assumes, in sentences.
    """

    source: Source
    num_shards: int
    forecasts: tuple[RankForecast, ...]
    assumptions: tuple[str, ...]


def forecast_ranks(
    shards: Sequence[ShardWork],
    counts: Sequence[int],
    *,
    start: StartTimes,
    half_width: float,
    spread: RankSpread = ASSUMED_SPREAD,
    ahead: ReadAhead = NOTHING_AHEAD,
    watts: float | None = None,
    seed: int = 0,
) -> tuple[RankForecast, ...]:
    """Return what is expected of a job on each number of ranks.

    Args:
        shards: Shards that are left, in the order of the file, with their times at the expected pace.
        counts: Numbers of ranks.
        start: What passes before a rank computes.
        half_width: Half-width of the prediction interval of the time of all ranks, on its logarithm.
        spread: How much ranks differ.
        ahead: How far ranks read ahead.
        watts: Power of a device while it runs; None if it is unknown.
        seed: Random seed.

    Raises:
        ValueError: There are no shards, or a number of ranks is below 1.
    """
    if not shards or min(counts, default=0) < 1:
        raise ValueError(f"{len(shards)} shards on {list(counts)} ranks: both must be at least 1")
    draws = max(MIN_DRAWS, min(DRAWS, MAX_CLAIMS // (len(shards) + max(counts))))
    drawn = [_Drawn.of(max(counts), half_width, spread, [seed, draw]) for draw in range(draws)]
    return tuple(_forecast(shards, count, drawn, start, ahead, watts) for count in counts)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """One possible truth."""

    slowness: float  # of all ranks
    start_up: float
    slowness_of_ranks: NDArray[np.float64]

    @classmethod
    def of(cls, ranks: int, half_width: float, spread: RankSpread, seed: list[int]) -> _Drawn:
        random = np.random.default_rng(seed)
        return cls(
            math.exp(random.normal(0.0, half_width / _NORMAL)),
            START_UP_FACTOR ** random.uniform(-1.0, 1.0),
            np.exp(random.normal(0.0, spread.log_sd, ranks)),
        )


def _forecast(
    shards: Sequence[ShardWork],
    count: int,
    drawn: Sequence[_Drawn],
    start: StartTimes,
    ahead: ReadAhead,
    watts: float | None,
) -> RankForecast:
    work_s = math.fsum(shard.seconds for shard in shards)
    rows: list[tuple[float, float, float]] = []
    numbers: list[list[int]] = []
    for each in drawn:
        run = _simulated(shards, count, each, start, ahead)
        mean_rate = float((1 / each.slowness_of_ranks[:count]).mean())
        alone_s = each.start_up * start.start_up_s + each.slowness * work_s / mean_rate
        rows.append(
            (each.start_up * start.before_s + run.seconds, run.tail_share, 100 * alone_s / (count * run.seconds))
        )
        numbers.append([len(rank.shards) for rank in run.ranks])
    wall_s, tail, efficiency = (_estimate(column) for column in zip(*rows, strict=True))
    fewest, most = (int(np.median([pick(row) for row in numbers])) for pick in (min, max))
    joules = None if watts is None else watts * count * wall_s.middle
    return RankForecast(count, wall_s, tail, efficiency, (fewest, most), joules)


def _simulated(
    shards: Sequence[ShardWork], count: int, drawn: _Drawn, start: StartTimes, ahead: ReadAhead
) -> SimulatedRun:
    start_up_s = drawn.start_up * start.start_up_s
    paces = [RankPace(0.0, start_up_s, drawn.slowness * own) for own in drawn.slowness_of_ranks[:count].tolist()]
    return simulate_ranks(shards, paces, ahead)


def _estimate(values: Sequence[float]) -> Estimate:
    tail = (1 - CONFIDENCE) / 2
    low, middle, high = np.quantile(values, [tail, 0.5, 1 - tail]).tolist()
    return Estimate(middle, low, high)
