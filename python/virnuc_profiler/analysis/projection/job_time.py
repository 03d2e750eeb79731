# SPDX-License-Identifier: MIT
"""The time of a large job, projected from a measured run, with a prediction interval.

The job takes one start-up, and then its work divided by the run's steady rate. Work is counted in FLOPs where the
model's arithmetic is known, because long sequences cost more per token (attention), and in tokens elsewhere. The
interval is one for a future run, not for a mean, so that it also holds what differs between runs. Its parts are
independent, so their half-widths on the logarithm of the time add up as squares (G. J. Hahn and W. Q. Meeker,
Statistical Intervals, 1991, chapter 4, for prediction intervals; first-order propagation of relative errors):

- the run's own interval of its steady rate;
- what differs between runs, from the spread of repeated runs, else a stated allowance;
- the mean length, if the job's is only known from a sample;
- the mix of lengths, if it differs from the run's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from virnuc_profiler.analysis.confidence.rate_interval import MAX_HALF_WIDTH
from virnuc_profiler.analysis.confidence.student import two_sided_t
from virnuc_profiler.analysis.model_cost import ModelShape
from virnuc_profiler.analysis.projection.length_strata import LengthStrata

CONFIDENCE: Final = 0.95
_NORMAL: Final = 1.96

MIN_REPEATS: Final = 3
"""Fewer runs say too little about how much runs differ."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Half-width, on the logarithm of the time, of what differs between runs of one configuration.

    Attributes:
        lasting: Part of a run of any length.
        drift: Part of a run of one second, which falls with the square root of the time.
    """

    lasting: float
    drift: float

    def of(self, measured_s: float) -> float:
        """Return the half-width for a run of some seconds."""
        return math.hypot(self.lasting, self.drift / math.sqrt(max(measured_s, 0.01)))


HOST_ALLOWANCE: Final = Allowance(0.05, 0.08)
BUSY_ALLOWANCE: Final = Allowance(0.02, 0.04)
"""Where repeats do not tell: for runs whose rate also follows the modes of the host, and for runs that keep the device
busy. On an H200, 18 runs of 0.55 s of the 8M model differ by -15 to +6 % from the rate of a run of 7.5 s; a twentieth
of a run of 8 s (0.4 s) by -9 to +3 % from the whole at 150M, and by -4 to +2 % at 3B."""
BUSY_PERCENT: Final = 95.0
"""GPU utilization from which on the device is taken to be busy all the time."""
MIX_SHARE: Final = 0.5
"""Share of the difference between counting FLOPs and counting tokens by which another mix of lengths may be off."""
LENGTH_SHARE: Final = 0.2
"""Exponent of the mean length by which it may be off where FLOPs cannot be counted. With the 8M model on an H200, seven
times as long sequences cost 1.44 times as much per token, which is an exponent of 0.19; larger models have less."""
START_UP_FACTOR: Final = 1.5
"""Factor by which the start-up may be shorter or longer than the measured one."""
_SECONDS_PER_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a configuration ran.

    Attributes:
        tokens_per_sec: Steady tokens per second, for the lengths of the run.
        start_up_s: Seconds from the start to the first completed batch.
        own_half_width: Relative half-width of the interval of `tokens_per_sec` that the run itself gives; None if it
            has not settled, or was too short to tell.
        measured_s: Seconds for which the rate was measured.
        gpu_util: GPU utilization in percent; None if it was not measured.
        repeats: Steady tokens per second of all runs of the configuration, if there are several. Their workloads may
            differ in size.
    """

    tokens_per_sec: float
    start_up_s: float
    own_half_width: float | None
    measured_s: float
    gpu_util: float | None = None
    repeats: tuple[float, ...] = ()

    @property
    def repeated(self) -> bool:
        """Whether there are enough repeated runs to tell how much runs differ."""
        return len(self.repeats) >= MIN_REPEATS

    @property
    def mean_rate(self) -> float:
        """Steady tokens per second over all runs: their geometric mean if there are enough, else that of the run."""
        return math.exp(_mean_log(self.repeats)) if self.repeated else self.tokens_per_sec


@dataclass(frozen=True, slots=True)
class IntervalParts:
    """Half-widths of the parts of an interval, on the logarithm of the time at the steady rate.

    Attributes:
        own: Interval of the run's own rate; 0 if repeated runs, which hold it too, tell more.
        between_runs: What differs between runs.
        mean_length: Error of the job's mean length.
        mix: Error of the work of another mix of lengths.
    """

    own: float
    between_runs: float
    mean_length: float
    mix: float

    @property
    def total(self) -> float:
        """Half-width of the whole."""
        return math.sqrt(self.own**2 + self.between_runs**2 + self.mean_length**2 + self.mix**2)


@dataclass(frozen=True, slots=True)
class StratumTime:
    """The sequences of a job in one range of lengths.

    Attributes:
        up_to_tokens: Tokens of the longest sequence that the range can hold.
        sequences: Number of sequences of the job.
        tokens: Their tokens.
        tokens_per_sec: Tokens per second at this length; None without sequences.
        hours: Hours at that rate.
    """

    up_to_tokens: int
    sequences: float
    tokens: float
    tokens_per_sec: float | None
    hours: float


@dataclass(frozen=True, slots=True)
class JobTime:
    """The projected time of a job.

    Attributes:
        sequences: Number of its sequences.
        hours: Hours in all.
        low_hours: Lower end of the prediction interval.
        high_hours: Upper end of the prediction interval.
        parts: What the interval consists of.
        strata: The job by length.
    """

    sequences: int
    hours: float
    low_hours: float
    high_hours: float
    parts: IntervalParts
    strata: tuple[StratumTime, ...]


def project_job(
    pace: Pace,
    run: LengthStrata,
    job: LengthStrata,
    shape: ModelShape | None,
    *,
    sequences: int,
    stratified: bool = False,
) -> JobTime:
    """Project the time of a job from a run.

    Args:
        pace: How fast the run was.
        run: Lengths of the run's sequences, once for each pass.
        job: Lengths of sequences that are like the job's, or are the job's.
        shape: Shape of the model; None if it is unknown.
        sequences: Number of sequences of the job.
        stratified: Whether `job` is stratified by length, as samples and generated workloads are.
    """
    rate = pace.mean_rate * sum(run.work(shape)) / run.total_tokens  # work per second
    scale = sequences / job.total_sequences
    strata = tuple(
        _stratum(bound, scale * count, scale * tokens, scale * work / rate)
        for bound, count, tokens, work in zip(job.upper_bounds, job.sequences, job.tokens, job.work(shape), strict=True)
    )
    steady_h = math.fsum(stratum.hours for stratum in strata)
    parts = _parts(pace, _mean_length(job, sequences, stratified), _mix(run, job, shape))
    start_up_h = pace.start_up_s / _SECONDS_PER_HOUR
    return JobTime(sequences, start_up_h + steady_h, *_ends(start_up_h, steady_h, parts), parts, strata)


def _stratum(bound: int, sequences: float, tokens: float, seconds: float) -> StratumTime:
    rate = tokens / seconds if seconds else None
    return StratumTime(bound, sequences, tokens, rate, seconds / _SECONDS_PER_HOUR)


def interval_of_hours(hours: float, pace: Pace) -> tuple[float, float]:
    """Return the prediction interval of the hours of a job of sequences like those that were run.

    Args:
        hours: Hours of the job, its start-up included.
        pace: How fast the run was.
    """
    start_up_h = pace.start_up_s / _SECONDS_PER_HOUR
    return _ends(start_up_h, hours - start_up_h, _parts(pace, 0.0, 0.0))


def _ends(start_up_h: float, steady_h: float, parts: IntervalParts) -> tuple[float, float]:
    low = start_up_h / START_UP_FACTOR + steady_h * math.exp(-parts.total)
    return low, start_up_h * START_UP_FACTOR + steady_h * math.exp(parts.total)


def _parts(pace: Pace, mean_length: float, mix: float) -> IntervalParts:
    if pace.repeated:
        count, center = len(pace.repeats), _mean_log(pace.repeats)
        variance = math.fsum((math.log(rate) - center) ** 2 for rate in pace.repeats) / (count - 1)
        spread = two_sided_t(1 - CONFIDENCE, count - 1) * math.sqrt(variance * (1 + 1 / count))
        return IntervalParts(0.0, max(spread, BUSY_ALLOWANCE.lasting), mean_length, mix)
    own = MAX_HALF_WIDTH if pace.own_half_width is None else pace.own_half_width
    busy = pace.gpu_util is not None and pace.gpu_util >= BUSY_PERCENT
    allowance = BUSY_ALLOWANCE if busy else HOST_ALLOWANCE
    return IntervalParts(own, allowance.of(pace.measured_s), mean_length, mix)


def _mean_length(job: LengthStrata, sequences: int, stratified: bool) -> float:
    """Return the error of the mean length of `sequences` sequences of which `job` is a part, or which are a part of it.

    Both are covered by the variance of the difference of the two means, which share the sequences of the smaller one
    (Cochran 1977, section 2.7, for the finite population).
    """
    beyond = abs(1 - job.total_sequences / sequences)
    return _NORMAL * job.error_of_mean(stratified=stratified) * math.sqrt(beyond)


def _mix(run: LengthStrata, job: LengthStrata, shape: ModelShape | None) -> float:
    if shape is None:
        return LENGTH_SHARE * abs(math.log(job.mean_tokens / run.mean_tokens))
    there, here = (sum(strata.work(shape)) / strata.total_tokens for strata in (job, run))
    return MIX_SHARE * abs(math.log(there / here))


def _mean_log(rates: Sequence[float]) -> float:
    return math.fsum(math.log(rate) for rate in rates) / len(rates)
