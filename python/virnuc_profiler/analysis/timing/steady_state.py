# SPDX-License-Identifier: MIT
"""The steady part of a run, after warm-up.

The first batches are slow (an empty loader, lazy loading of kernels, recording of CUDA graphs, allocator growth), so
three of them are excluded, and the end of the warm-up is sought in the completions of the others, see `rate_interval`.
The window lasts from there to the last completion, and includes waits for data. Both ends are measured completions: the
work of batches without device times counts as done by the next batch that has them.

Packs differ: best-fit-decreasing sends the long sequences of each buffer first, so later packs hold more and shorter
sequences. Batches are therefore compared by their work: FLOPs where the model's arithmetic is known, tokens
elsewhere. If the window holds a share w of the run's work, the whole run takes (length of the window) / w at the steady
pace, and all steady rates are the run's totals divided by that time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.confidence.rate_interval import (
    MIN_BATCHES,
    MIN_PASSES,
    TOO_SHORT,
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

MIN_WARM_UP_BATCHES = 3
"""Number of batches that always belong to the warm-up."""
MIN_STEADY_BATCHES = 3
"""Minimum number of batches in the window of a steady state."""


@dataclass(frozen=True, slots=True, eq=False)
class SteadyState:
    """The batches and rates after warm-up.

    Attributes:
        first_completion_ns: Completion time of the first batch on the host's clock; None without batches.
        warm_up_batches: Number of batches that were excluded.
        batches: Batches in the window, in order of completion; empty if the run is too short.
        window: Time from the last warm-up completion to the last completion, ns; None if the run is too short.
        interval: Interval of `tokens_per_sec`, which says too whether the run has settled; None if batches were not
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
        sequences_per_pass: Number of sequences in each of the run's passes over the same workload; None if it has one.
    """
    counted = batches.all_packed
    amounts = batches.columns["tokens"].astype(np.float64) if work is None else work
    if not counted:
        amounts = np.ones(len(batches))  # which gives a window, but no rates
    found = completions_of(batches)
    order = np.argsort(found.at_ns, kind="stable")
    times_ns, measured = found.at_ns[order], found.measured[order]
    ends = pass_ends(batches.columns["sequences"][order], sequences_per_pass) if counted else _NO_ENDS
    interval = completed_rate(times_ns, amounts[order], ends, measured)
    window = interval.window
    inside = order[:0] if window is None else order[(times_ns > window[0]) & (times_ns <= window[1])]
    first_ns = int(times_ns[0]) if len(times_ns) else None
    if window is None or len(inside) < MIN_STEADY_BATCHES:
        nothing = replace(interval, state=TOO_SHORT, rate=None, low=None, high=None, blocks=0, window=None)
        excluded = min(MIN_WARM_UP_BATCHES, len(order))
        return SteadyState(first_ns, excluded, batches.take(inside[:0]), interval=nothing if counted else None)
    excluded = int(np.count_nonzero(times_ns <= window[0]))
    state = SteadyState(first_ns, excluded, batches.take(inside), window)
    if not counted:
        return state
    tokens, sequences = (int(batches.columns[name].sum()) for name in ("tokens", "sequences"))
    whole = float(amounts.sum())
    in_tokens = scaled(interval, tokens / whole)
    per_token = ratio(sequences, tokens)
    return replace(
        state,
        interval=in_tokens,
        tokens_per_sec=in_tokens.rate,
        sequences_per_sec=None if in_tokens.rate is None or per_token is None else in_tokens.rate * per_token,
    )


_NO_ENDS: Column = np.zeros(0, dtype=np.int64)


def pass_ends(amounts: Column | Work, amount_per_pass: int | None) -> Column:
    """Return the indices of the batches that end a pass over the workload.

    Args:
        amounts: Sequences or tokens of each batch in the order of completion, of shape (batches,).
        amount_per_pass: Their number in each pass; None if nothing is known of passes.

    Returns:
        Indices of shape (passes,). Empty if passes do not end with a batch, as in a run without passes.
    """
    if not amount_per_pass:
        return _NO_ENDS
    done = np.cumsum(amounts)
    ends = np.flatnonzero(done % amount_per_pass == 0)
    whole_passes = int(done[-1]) // amount_per_pass if len(done) else 0
    return ends if len(ends) == whole_passes else _NO_ENDS


def completed_rate(times_ns: Column, work: Work, ends: Column, measured: Mask | None = None) -> RateInterval:
    """Return the interval of the rate at which a series of batches was completed, without its first few.

    If there are enough passes, all of the first one is left out, so that what remains consists of whole passes.

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
    times_ns, work = times_ns[places], np.diff(np.cumsum(work)[places])
    later = (np.searchsorted(places, ends[1:]) - 1).tolist() if in_passes else ()
    found = rate_interval(times_ns, work, pass_ends=later)
    if found.window is None or len(work) >= MIN_BATCHES:
        return found
    window = (int(times_ns[0]), int(times_ns[-1]))
    return replace(found, rate=float(work.sum()) * 1e9 / (window[1] - window[0]), window=window)


def scaled(interval: RateInterval, factor: float) -> RateInterval:
    """Return an interval in another unit of work.

    Args:
        interval: The interval.
        factor: Number of new units in one of its units.
    """
    rate, low, high = (
        None if value is None else value * factor for value in (interval.rate, interval.low, interval.high)
    )
    return replace(interval, rate=rate, low=low, high=high)
