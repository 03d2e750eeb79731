# SPDX-License-Identifier: MIT
"""The long-run rate of a series of batches, with a confidence interval.

The series is cut into blocks of equal work, because packs differ in size. The warm-up is found and left out. The mean
time of the remaining blocks has an interval that allows for autocorrelation, and the rate's interval follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virnuc_profiler.analysis.confidence.autocorrelation import doubt_of_mean, trend_error
from virnuc_profiler.analysis.confidence.student import check_confidence
from virnuc_profiler.analysis.confidence.transient import warm_up_length

SETTLED: Final = "settled"
UNSETTLED: Final = "unsettled"
TOO_SHORT: Final = "too_short"

MIN_BATCHES: Final = 50
"""Shorter series say so little about their autocorrelation that too many of their intervals would miss the truth."""
MAX_BLOCKS: Final = 32
"""More blocks hardly narrow an interval, and the autocorrelation between them grows (Schmeiser 1982)."""
MIN_PASSES: Final = 3
"""From this number of passes on, each place of a pass is compared with the same place of the others."""
FINE_BLOCKS: Final = 200
"""Number of blocks in which the end of the warm-up is sought."""
TREND_ERROR: Final = 0.01
"""Probability that a run without a trend is called unsettled."""
MAX_HALF_WIDTH: Final = 0.25
"""A run whose interval would be wider than this share of its rate is too short to tell."""


@dataclass(frozen=True, slots=True)
class RateInterval:
    """The rate that a run converges to.

    Attributes:
        state: ``settled``: the rate has an interval. ``unsettled``: the rate still changed in the second half of the
            run, or has a trend. ``too_short``: there are too few batches, or they vary too much, for an interval.
        rate: Work per second in the window; None if there is no window.
        low: Lower end of the interval; None unless the run has settled.
        high: Upper end of the interval; None unless the run has settled.
        confidence: Probability with which such an interval contains the long-run rate.
        blocks: Number of blocks of equal work that the interval was computed from; 0 without an interval.
        window: Start and end of the time after the warm-up, ns; None if no work took any time. In an unsettled run, it
            is the second half of the batches; in a run of too few batches, all of them.
    """

    state: str
    rate: float | None
    low: float | None
    high: float | None
    confidence: float
    blocks: int
    window: tuple[int, int] | None

    @property
    def relative_half_width(self) -> float | None:
        """Half the width of the interval as a share of the rate; None without an interval."""
        if self.rate is None or self.low is None or self.high is None:
            return None
        return (self.high - self.low) / (2 * self.rate)

    def to_json(self) -> dict[str, Any]:
        """Return the interval as JSON values."""
        values = asdict(self)
        values["window"] = None if self.window is None else list(self.window)
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RateInterval:
        """Restore an interval from its JSON values. Unknown keys are ignored.

        Args:
            values: What `to_json` returned.

        Raises:
            KeyError: A key is missing.
        """
        window = values["window"]
        return cls(
            state=values["state"],
            rate=values["rate"],
            low=values["low"],
            high=values["high"],
            confidence=values["confidence"],
            blocks=values["blocks"],
            window=None if window is None else (int(window[0]), int(window[1])),
        )


class _Series(NamedTuple):
    """A series of batches by time and work done.

    Attributes:
        times_ns: Beginning, then completion of each batch.
        seconds: The same since the beginning.
        done: Work done by then.
        passes: Positions in the two columns at which passes over the workload begin and end; two or more.
    """

    times_ns: NDArray[np.int64]
    seconds: NDArray[np.float64]
    done: NDArray[np.float64]
    passes: list[int]

    def block_times(self, begin: int, blocks: int) -> NDArray[np.float64]:
        """Return the time that each of several equal parts of the work from a position on took, in seconds."""
        edges = np.linspace(self.done[begin], self.done[-1], blocks + 1)
        return np.diff(np.interp(edges, self.done[begin:], self.seconds[begin:]))

    def window(self, begin: int) -> tuple[int, int]:
        return int(self.times_ns[begin]), int(self.times_ns[-1])

    def rate(self, begin: int) -> float:
        return float((self.done[-1] - self.done[begin]) / (self.seconds[-1] - self.seconds[begin]))


def rate_interval(
    times_ns: ArrayLike, work: ArrayLike, *, pass_ends: Sequence[int] = (), confidence: float = 0.95
) -> RateInterval:
    """Return the long-run rate of a series of batches, and its interval.

    The interval knows the noise within the series only. Repeat the run to learn what differs from run to run.

    Args:
        times_ns: Times of shape (n + 1,) in ascending order: beginning of the measured time, then completion of each of
            n batches.
        work: Work of each batch in any unit, such as FLOPs or tokens, of shape (n,).
        pass_ends: Indices of the batches that end a pass over the same workload. What differs between the places of a
            pass is then no noise.
        confidence: Probability with which the interval contains the long-run rate.

    Raises:
        ValueError: The shapes do not fit, times descend, work is negative, or an argument is out of range.
    """
    check_confidence(confidence)
    series = _checked(times_ns, work, pass_ends)
    batches = len(series.done) - 1
    if batches == 0 or series.seconds[-1] <= 0 or series.done[-1] <= 0:
        return RateInterval(TOO_SHORT, None, None, None, confidence, 0, None)
    if batches < MIN_BATCHES:
        return _without_interval(TOO_SHORT, series, 0, confidence)
    settled = _end_of_warm_up(series)
    if settled is None:
        return _without_interval(UNSETTLED, series, batches // 2, confidence)
    begin, values = _blocks(series, settled)
    if trend_error(values) < TREND_ERROR:
        return _without_interval(UNSETTLED, series, batches // 2, confidence)
    mean = float(values.mean())
    doubt = doubt_of_mean(values, 1 - confidence)
    if max(doubt) > MAX_HALF_WIDTH * mean:
        return _without_interval(TOO_SHORT, series, begin, confidence)
    rate = series.rate(begin)
    low, high = rate / (1 + doubt.above / mean), rate / (1 - doubt.below / mean)
    return RateInterval(SETTLED, rate, low, high, confidence, values.size, series.window(begin))


def _checked(times_ns: ArrayLike, work: ArrayLike, pass_ends: Sequence[int]) -> _Series:
    times, amounts = np.asarray(times_ns, np.int64), np.asarray(work, np.float64)
    if times.ndim != 1 or amounts.shape != (max(len(times) - 1, 0),):
        raise ValueError(
            f"times_ns has the shape {times.shape} and work {amounts.shape}; they must be (n + 1,) and (n,)"
        )
    if (np.diff(times) < 0).any():
        raise ValueError("times_ns descends; sort the batches by their completion")
    if not (np.isfinite(amounts) & (amounts >= 0)).all():
        raise ValueError("work has a value that is negative or not finite")
    ends = sorted({int(end) + 1 for end in pass_ends})
    if ends and (ends[0] < 1 or ends[-1] > len(amounts)):
        raise ValueError(f"pass_ends has an index outside of the {len(amounts)} batches")
    done = np.concatenate([[0.0], np.cumsum(amounts)])
    return _Series(times, (times - times[:1]) / 1e9, done, [0, *ends])


def _without_interval(state: str, series: _Series, begin: int, confidence: float) -> RateInterval:
    if series.seconds[-1] <= series.seconds[begin] or series.done[-1] <= series.done[begin]:
        begin = 0
    return RateInterval(state, series.rate(begin), None, None, confidence, 0, series.window(begin))


def _end_of_warm_up(series: _Series) -> int | None:
    """Return the position at which the warm-up has ended; None if it lasts beyond half of the work."""
    values = _fine_blocks(series)
    length = warm_up_length(values)
    if length is None:
        return None
    return int(np.searchsorted(series.done, series.done[-1] * length / len(values) * (1 - 1e-12)))


def _fine_blocks(series: _Series) -> NDArray[np.float64]:
    """Return the times of many blocks of equal work, without what differs between the places of a pass."""
    batches = len(series.done) - 1
    passes = len(series.passes) - 1
    if passes < MIN_PASSES or series.passes[-1] != batches:
        return series.block_times(0, min(FINE_BLOCKS, batches))
    places = max(1, min(FINE_BLOCKS // passes, batches // passes))
    values = series.block_times(0, passes * places).reshape(passes, places)
    return (values - np.median(values, axis=0) + np.median(values)).ravel()


def _blocks(series: _Series, begin: int) -> tuple[int, NDArray[np.float64]]:
    """Return where the window begins, and the times of its blocks, of shape (passes, places) or (blocks, 1)."""
    batches = len(series.done) - 1
    bounds = [bound for bound in series.passes if bound >= begin]
    passes = len(bounds) - 1
    if passes >= MIN_PASSES and bounds[-1] == batches:
        joined = -(-passes // MAX_BLOCKS)  # passes in a block
        passes = passes // joined
        start = bounds[len(bounds) - 1 - passes * joined]
        places = max(1, min(MAX_BLOCKS // passes, (batches - start) // passes))
        return start, series.block_times(start, passes * places).reshape(passes, places)
    blocks = (batches - begin) // -(-(batches - begin) // MAX_BLOCKS)
    return begin, series.block_times(begin, blocks)[:, None]
