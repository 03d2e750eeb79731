# SPDX-License-Identifier: MIT
"""Which batches of a long run are kept exactly: its beginning, its slowest batches, and those around its largest gaps.

The times of all batches of a very long run are more than a page can hold. Batches that are not kept go into buckets of
time, in which their time, their number and their extremes stay exact.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from virnuc_profiler.analysis.diagnosis.bottlenecks import LEAD_IN, TAIL
from virnuc_profiler.analysis.timeline.batch_pace import BatchPace
from virnuc_profiler.analysis.timeline.idle_causes import IDLE_CAUSES, IdleTime
from virnuc_profiler.telemetry.stage_columns import Column, Mask

MAX_EXACT_INTERVALS: Final = 1_000_000
"""Largest number of stage intervals that are all kept: 100,000 batches of seven stages, three of them on the device."""

FIRST_BATCHES: Final = 5_000
SLOWEST_BATCHES: Final = 300
LARGEST_GAPS: Final = 300
NEIGHBORS: Final = 8
"""Batches before and after a slow one, or a gap, that are kept with it."""


class ExactPart(NamedTuple):
    """The batches whose times are kept exactly.

    Attributes:
        batches: Mask of these batches, of shape (batches,).
        gaps: Mask of the gaps that end in the time of these batches, of shape (gaps,).
        whole: Whether all batches are kept.
    """

    batches: Mask
    gaps: Mask
    whole: bool


def exact_part(pace: BatchPace, idle: IdleTime, intervals: int, *, limit: int = MAX_EXACT_INTERVALS) -> ExactPart:
    """Choose the batches of a run that are kept exactly.

    Args:
        pace: Times of the batches.
        idle: Idle time of the device.
        intervals: Number of stage intervals of the run, on host and device.
        limit: Number of intervals up to which all batches are kept.
    """
    count = len(pace.order)
    if intervals <= limit:
        return ExactPart(np.ones(count, np.bool_), np.ones(len(idle.start_ns), np.bool_), whole=True)
    durations, gap_batch = pace.interval_ns[pace.order], _batch_of(pace, idle.end_ns)
    slowest = np.argsort(-durations, kind="stable")[:SLOWEST_BATCHES]
    inner = np.flatnonzero(~_at_the_ends(idle))
    sizes = (idle.end_ns - idle.start_ns)[inner]
    largest = gap_batch[inner[np.argsort(-sizes, kind="stable")[:LARGEST_GAPS]]]
    chosen = np.zeros(count, np.bool_)  # by completion
    chosen[:FIRST_BATCHES] = True
    for offset in range(-NEIGHBORS, NEIGHBORS + 1):
        chosen[np.clip(np.concatenate((slowest, largest)) + offset, 0, count - 1)] = True
    batches = np.zeros(count, np.bool_)
    batches[pace.order] = chosen
    return ExactPart(batches, chosen[gap_batch] | _at_the_ends(idle), whole=False)


def _batch_of(pace: BatchPace, moments_ns: Column) -> Column:
    """Return the batch in whose time each moment lies, as a position in the order of completion."""
    completed = pace.completed_ns[pace.order]
    return np.minimum(np.searchsorted(completed, moments_ns, side="left"), max(len(completed) - 1, 0))


def _at_the_ends(idle: IdleTime) -> Mask:
    """Return a mask of the gaps before the first and after the last stage."""
    found = np.zeros(len(idle.start_ns), np.bool_)
    found[idle.gap[np.isin(idle.cause, [IDLE_CAUSES.index(LEAD_IN), IDLE_CAUSES.index(TAIL)])]] = True
    return found
