# SPDX-License-Identifier: MIT
"""What the host was doing at each moment of a run, from the host intervals of its stages."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from virnuc_profiler.analysis.timing.interval_columns import clip
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.telemetry.batch_table import DEVICE_TIMES_DROPPED, BatchTable
from virnuc_profiler.telemetry.records import DEVICE_STAGES, BatchRecord
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED, Column, StageColumns

LAUNCHING: Final = "launching"
CONSUMING: Final = "consuming"
OWN_STAGE: Final = "own stage"
COLLATING: Final = "collating"
FETCHING: Final = "fetching"
UNSTAGED: Final = "unstaged"
UNKNOWN: Final = "unknown"

ACTIVITIES: Final = (UNKNOWN, LAUNCHING, CONSUMING, OWN_STAGE, COLLATING, FETCHING, UNSTAGED)
"""All of them; where stages overlap, the first one counts. A device stage or ``emit`` is the loop itself at work,
whatever a worker collates meanwhile; ``collate`` inside ``fetch`` is what the loop waited for."""


class Segment(NamedTuple):
    """The host did one thing, ns."""

    start_ns: int
    end_ns: int
    activity: str


class HostTimeline:
    """Segments that tile a window in order, none with the activity of the next.

    Args:
        bounds: (segments + 1,) ns; a segment lasts from one to the next.
        activities: (segments,) by number, see ``ACTIVITIES``.
    """

    def __init__(self, bounds: Column, activities: Column) -> None:
        self.bounds = bounds
        self.activities = activities

    @property
    def segments(self) -> list[Segment]:
        """All of them as records."""
        times = self.bounds.tolist()
        return [
            Segment(start, end, ACTIVITIES[number])
            for (start, end), number in zip(pairwise(times), self.activities.tolist(), strict=True)
        ]

    def at(self, moments_ns: Column) -> Column:
        """The place of the segment that holds each moment; -1 outside of the window."""
        places = np.searchsorted(self.bounds, moments_ns, side="right") - 1
        return np.where(places < len(self.activities), places, -1)

    def during(self, starts: Column, ends: Column) -> tuple[Column, Column, Column]:
        """What the host did in each of some intervals that are not empty.

        Returns:
            (pieces,) each, in order: the place of the interval, the number of the activity, and its duration, ns.
        """
        count = len(self.activities)
        first = np.clip(np.searchsorted(self.bounds, starts, side="right") - 1, 0, count)
        last = np.clip(np.searchsorted(self.bounds, ends, side="left"), first, count)
        pieces = last - first
        interval = np.repeat(np.arange(len(starts)), pieces)
        segment = np.arange(len(interval)) - np.repeat(np.cumsum(pieces) - pieces - first, pieces)
        low = np.maximum(self.bounds[segment], starts[interval])
        return interval, self.activities[segment], np.minimum(self.bounds[segment + 1], ends[interval]) - low


def host_timeline(batches: Iterable[BatchRecord], window: Interval) -> HostTimeline:
    """What the host did throughout `window`.

    A batch whose device times were dropped is ``unknown`` from its first launch on: the device was at work then,
    nobody knows how long.
    """
    table = BatchTable.from_records(batches)
    stages = table.stages()
    launching = device_stage_names(stages)
    number_of = np.array([ACTIVITIES.index(_activity(name, launching)) for name in stages.names], np.int64)
    lost_starts, lost_ends = _lost(table, stages[stages.named(launching)])
    starts, ends = clip(np.append(stages.host_start_ns, lost_starts), np.append(stages.host_end_ns, lost_ends), window)
    activities = np.append(number_of[stages.name], np.full(len(lost_starts), ACTIVITIES.index(UNKNOWN)))
    whole = starts < ends
    return _tiled(starts[whole], ends[whole], activities[whole], window)


def _tiled(starts: Column, ends: Column, activities: Column, window: Interval) -> HostTimeline:
    """The timeline of stages inside a window, each with its activity; where they overlap, the first one counts."""
    low, high = window
    if low >= high:
        return HostTimeline(np.array([low], np.int64), np.array([], np.int64))
    bounds, places = np.unique(np.concatenate((starts, ends, [low, high])), return_inverse=True)
    places = places.reshape(-1)
    counts = np.full(len(bounds) - 1, ACTIVITIES.index(UNSTAGED))
    for number in reversed(range(len(ACTIVITIES) - 1)):
        mine = activities == number
        begun = np.bincount(places[: len(starts)][mine], minlength=len(bounds))
        ended = np.bincount(places[len(starts) : -2][mine], minlength=len(bounds))
        counts[np.cumsum(begun - ended)[:-1] > 0] = number
    changes = np.flatnonzero(np.diff(counts)) + 1
    return HostTimeline(bounds[np.concatenate(([0], changes, [len(bounds) - 1]))], counts[np.append(0, changes)])


def _lost(table: BatchTable, launching: StageColumns) -> tuple[Column, Column]:
    """From the first launch to the end of each batch whose device times were dropped."""
    first = np.full(len(table), np.iinfo(np.int64).max)
    np.minimum.at(first, launching.batch, launching.host_start_ns)
    lost = table.flagged(DEVICE_TIMES_DROPPED)
    return first[lost], table.column("host_end_ns")[lost]


def device_stage_names(stages: StageColumns) -> frozenset[str]:
    """The stages that launch work: the four of the pipeline, and others that had a device interval."""
    own = np.unique(stages.name[stages.device_end_ns != NOT_MEASURED])
    return frozenset(DEVICE_STAGES).union(stages.names[number] for number in own)


def _activity(stage: str, device_stages: frozenset[str]) -> str:
    if stage in device_stages:
        return LAUNCHING
    return {"fetch": FETCHING, "collate": COLLATING, "emit": CONSUMING}.get(stage, OWN_STAGE)
