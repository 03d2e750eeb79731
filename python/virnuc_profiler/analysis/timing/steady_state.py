# SPDX-License-Identifier: MIT
"""The steady part of a run, after warm-up.

The first batches are slow (lazy loading of kernels, recording of CUDA graphs, allocator growth, an empty loader), so
10 % of the completed batches, at least 3, are excluded. The window lasts from the last of their completions to the last
completion, and includes waits for data. Both ends must be measured completions: warm-up lasts until the next batch with
device times, and the steady part ends with the last one.

The steady rate is that of a part of the run that has settled, see `rate_interval`: a transient may last longer than
these batches, such as until a power cap holds, and says nothing of the long run. The window keeps it, because it is
where a diagnosis looks for what went wrong. The rate of a run that has not settled is that of the window.

Packs differ: best-fit-decreasing sends the long sequences of each buffer first, so the packs after warm-up hold
more and shorter sequences than those before. Batches are therefore compared by their work, which is FLOPs where the
model's arithmetic is known, and tokens elsewhere. If a part of the run holds a share w of its work, the whole run takes
(length of that part) / w at the steady pace, and all steady rates are the run's totals divided by that time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.confidence.rate_interval import (
    MIN_PASSES,
    SETTLED,
    RateInterval,
    rate_interval,
)
from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.stage_columns import Column, Mask

Work: TypeAlias = NDArray[np.float64]
"""Work of batches in any unit, such as FLOPs or tokens."""

WARM_UP_SHARE = 0.1
MIN_WARM_UP_BATCHES = 3
MIN_STEADY_BATCHES = 3
"""Minimum number of remaining batches for a steady state."""

_NO_ENDS: Column = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class SteadyState:
    """The batches and rates after warm-up.

    Attributes:
        first_completion_ns: Completion time of the first batch on the host's clock; None without batches.
        warm_up_batches: Number of batches that were excluded from the rates.
        batches: Batches in the window, in order of completion; empty if the run is too short.
        window: Time from the last warm-up completion to the last completion, ns; None if the run is too short.
        interval: Interval of `tokens_per_sec`, which also says whether the run has settled; None if batches were not
            counted.
        tokens_per_sec: Tokens of the whole run per second at the steady pace; None if they were not measured.
        sequences_per_sec: Sequences of the whole run per second at the steady pace; None if they were not measured.
    """

    first_completion_ns: int | None
    warm_up_batches: int
    batches: BatchTable
    window: Interval | None = None
    interval: RateInterval | None = None
    tokens_per_sec: float | None = None
    sequences_per_sec: float | None = None


def steady_state(batches: BatchTable, work: Work | None = None, sequences_per_pass: int | None = None) -> SteadyState:
    """Return the batches and rates of a run after warm-up.

    Args:
        batches: Batches of the run, in any order.
        work: Work of each batch in any unit, of shape (batches,); by default its tokens.
        sequences_per_pass: Number of sequences of the workload, which the run may go through several times; None if
            that is unknown.
    """
    found = completions_of(batches)
    order = np.argsort(found.at_ns, kind="stable")
    times_ns, measured = found.at_ns[order], found.measured[order]
    warm_up = max(MIN_WARM_UP_BATCHES, math.ceil(WARM_UP_SHARE * len(order)))
    places = np.flatnonzero(measured)
    ends = places[places >= warm_up - 1].tolist()  # places where warm-up or the steady part can end
    first_ns = int(times_ns[0]) if len(times_ns) else None
    if not ends or ends[-1] - ends[0] < MIN_STEADY_BATCHES:
        unknown = rate_interval((), ()) if batches.all_packed else None
        return SteadyState(first_ns, min(warm_up, len(order)), batches.take(order[:0]), interval=unknown)
    window = int(times_ns[ends[0]]), int(times_ns[ends[-1]])
    inside = batches.take(order[ends[0] + 1 : ends[-1] + 1])
    state = SteadyState(first_ns, ends[0] + 1, inside, window)
    if not batches.all_packed:
        return state
    amounts = (batches.columns["tokens"].astype(np.float64) if work is None else work)[order]
    passes = pass_ends(batches.columns["sequences"][order], sequences_per_pass)
    interval = completed_rate(times_ns, amounts, passes, measured)
    if interval.state != SETTLED:
        pace = ratio(math.fsum(amounts[ends[0] + 1 : ends[-1] + 1].tolist()) * 1e9, window[1] - window[0])
        interval = replace(interval, rate=pace, window=window)
    whole = math.fsum(amounts.tolist())
    in_tokens, in_sequences = (scaled(interval, batches.columns[name].sum(), whole) for name in ("tokens", "sequences"))
    return replace(
        state,
        warm_up_batches=int(np.count_nonzero(times_ns <= (interval.window or window)[0])),
        interval=in_tokens,
        tokens_per_sec=in_tokens.rate,
        sequences_per_sec=in_sequences.rate,
    )


def pass_ends(amounts: Column | Work, amount_per_pass: int | None) -> Column:
    """Return the indices of the batches that end a pass over the workload.

    Args:
        amounts: Sequences or tokens of each batch in the order of completion, of shape (batches,).
        amount_per_pass: Their number in each pass; None if nothing is known of passes.

    Returns:
        Indices of shape (passes,); empty if passes do not end with a batch.
    """
    if not amount_per_pass or not len(amounts):
        return _NO_ENDS
    done = np.cumsum(amounts)
    ends = np.flatnonzero(done % amount_per_pass == 0)
    return ends if len(ends) == int(done[-1]) // amount_per_pass else _NO_ENDS


def completed_rate(times_ns: Column, work: Work, ends: Column, measured: Mask | None = None) -> RateInterval:
    """Return the interval of the rate at which a series of batches was completed, without the first few of them.

    If there are enough passes, the whole first one is left out, so that what remains consists of whole passes.

    Args:
        times_ns: Completion time of each batch, ascending, of shape (batches,).
        work: Work of each batch, of shape (batches,).
        ends: Indices of the batches that end a pass.
        measured: Whether each completion time was measured; by default all were. The work of a batch without a time
            counts as done by the next one that has one.
    """
    known = np.ones(len(times_ns), dtype=np.bool_) if measured is None else measured
    in_passes = len(ends) > MIN_PASSES and bool(known[ends].all())
    begin = int(ends[0]) if in_passes else MIN_WARM_UP_BATCHES - 1
    places = np.flatnonzero(known)
    places = places[places >= begin]
    later = (np.searchsorted(places, ends[1:]) - 1).tolist() if in_passes else ()
    return rate_interval(times_ns[places], np.diff(np.cumsum(work)[places]), pass_ends=later)


def scaled(interval: RateInterval, amount: float, work: float) -> RateInterval:
    """Return an interval in another unit.

    Args:
        interval: Interval of a rate of work.
        amount: What was done in the other unit while all of the work was done.
        work: All of the work.
    """
    rate, low, high = (
        ratio(None if value is None else value * float(amount), work)
        for value in (interval.rate, interval.low, interval.high)
    )
    return replace(interval, rate=rate, low=low, high=high)
