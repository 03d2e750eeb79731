# SPDX-License-Identifier: MIT
"""The steady part of a run, after warm-up.

The first batch of each shape is slow (lazy loading of kernels, allocator growth, an empty loader), so the first 10 % of
the completed batches, at least 3, are excluded. The window lasts from the last warm-up completion to the last
completion, and includes waits for data. Both ends must be measured completions: warm-up lasts until the next batch with
device times, and the steady part ends with the last one.

Packs differ: best-fit-decreasing sends the long sequences of each buffer first, so the packs after warm-up hold
more and shorter sequences than those before. Batches are therefore compared by their work, which is FLOPs where the
model's arithmetic is known, and tokens elsewhere. If the window holds a share w of the run's work, the whole run takes
(length of the window) / w at the steady pace, and all steady rates are the run's totals divided by that time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.stage_columns import Column

Work: TypeAlias = NDArray[np.float64]
"""Work of batches in any unit, such as FLOPs or tokens."""

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
        tokens_per_sec: Tokens of the whole run per second at the steady pace; None if they were not measured.
        sequences_per_sec: Sequences of the whole run per second at the steady pace; None if they were not measured.
    """

    first_completion_ns: int | None
    warm_up_batches: int
    batches: BatchTable
    window: Interval | None = None
    tokens_per_sec: float | None = None
    sequences_per_sec: float | None = None


def steady_state(batches: BatchTable, work: Work | None = None) -> SteadyState:
    """Return the batches and rates of a run after warm-up.

    Args:
        batches: Batches of the run, in any order.
        work: Work of each batch in any unit, of shape (batches,); by default its tokens.
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
    inside = order[ends[0] + 1 : ends[-1] + 1]
    rates = (steady_rate(batches, name, inside, window, work) for name in ("tokens", "sequences"))
    return SteadyState(first_ns, ends[0] + 1, batches.take(inside), window, *rates)


def steady_rate(
    batches: BatchTable, field: str, inside: Column, window: Interval, work: Work | None = None
) -> float | None:
    """Return a total of the run per second, as if all batches went at the pace of those in a window.

    Args:
        batches: Batches of the run.
        field: Column that is added up, such as ``tokens``.
        inside: Positions of the batches in the window.
        window: Start and end of the window, ns.
        work: Work of each batch in any unit, of shape (batches,); by default its tokens.

    Returns:
        The rate; None if a batch was not counted, or if the batches have no work.
    """
    if not batches.all_packed:
        return None
    amounts = batches.columns["tokens"].astype(np.float64) if work is None else work
    done, whole = math.fsum(amounts[inside].tolist()), math.fsum(amounts.tolist())
    return ratio(int(batches.columns[field].sum()) * done * 1e9, whole * (window[1] - window[0]))
