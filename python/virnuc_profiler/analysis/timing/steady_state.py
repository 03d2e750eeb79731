# SPDX-License-Identifier: MIT
"""The steady part of a run, after warm-up.

The first batch of each shape is slow (lazy loading of kernels, allocator growth, an empty loader), so the first 10 % of
the completed batches, at least 3, are excluded. The steady rate is the number of tokens in the remaining batches
divided by the time from the last warm-up completion to the last completion, which includes waits for data. Both ends
must be measured completions: warm-up lasts until the next batch with device times, and the steady part ends with the
last one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.rates import ratio

WARM_UP_SHARE = 0.1
MIN_WARM_UP_BATCHES = 3
MIN_STEADY_BATCHES = 3
"""Minimum number of remaining batches for a steady state."""


@dataclass(frozen=True, slots=True, eq=False)
class SteadyState:
    """The batches and rates after warm-up.

    Attributes:
        first_completion_ns: Completion time of the first batch on the host's clock; None without batches.
        warm_up_batches: Number of batches that were excluded.
        batches: Batches in the window, in order of completion; empty if the run is too short.
        window: Time from the last warm-up completion to the last completion, ns; None if the run is too short.
        tokens_per_sec: Tokens per second in the window; None if they were not measured.
        sequences_per_sec: Sequences per second in the window; None if they were not measured.
    """

    first_completion_ns: int | None
    warm_up_batches: int
    batches: BatchTable
    window: Interval | None = None
    tokens_per_sec: float | None = None
    sequences_per_sec: float | None = None


def steady_state(batches: BatchTable) -> SteadyState:
    """Return the batches and rates of a run after warm-up.

    Args:
        batches: Batches of the run, in any order.
    """
    found = completions_of(batches)
    order = np.argsort(found.at_ns, kind="stable")
    times_ns = found.at_ns[order].tolist()
    warm_up = max(MIN_WARM_UP_BATCHES, math.ceil(WARM_UP_SHARE * len(order)))
    measured = np.flatnonzero(found.measured[order])
    ends = measured[measured >= warm_up - 1].tolist()  # places where warm-up or the steady part can end
    first_ns = times_ns[0] if times_ns else None
    if not ends or ends[-1] - ends[0] < MIN_STEADY_BATCHES:
        return SteadyState(first_ns, min(warm_up, len(order)), batches.take(order[:0]))
    window = times_ns[ends[0]], times_ns[ends[-1]]
    steady = batches.take(order[ends[0] + 1 : ends[-1] + 1])
    tokens_per_sec, sequences_per_sec = None, None
    if steady.all_packed:
        tokens_per_sec = ratio(int(steady.columns["tokens"].sum()) * 1e9, window[1] - window[0])
        sequences_per_sec = ratio(int(steady.columns["sequences"].sum()) * 1e9, window[1] - window[0])
    return SteadyState(first_ns, ends[0] + 1, steady, window, tokens_per_sec, sequences_per_sec)
