# SPDX-License-Identifier: MIT
"""Activity of the host over the course of a run, from the host intervals of its stages."""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.timing.interval_columns import clip
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.telemetry.batch_table import DEVICE_TIMES_DROPPED, BatchTable
from virnuc_profiler.telemetry.records import DEVICE_STAGES
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED, Column, StageColumns

LAUNCHING: Final = "launching"
CONSUMING: Final = "consuming"
OWN_STAGE: Final = "own stage"
COLLATING: Final = "collating"
FETCHING: Final = "fetching"
UNSTAGED: Final = "unstaged"
UNKNOWN: Final = "unknown"

ACTIVITIES: Final = (UNKNOWN, LAUNCHING, CONSUMING, OWN_STAGE, COLLATING, FETCHING, UNSTAGED)
"""All activities, by decreasing priority where stages overlap. A device stage or ``emit`` occupies the loop itself even
while a worker collates; ``collate`` inside ``fetch`` is what the loop waited for."""

_ACTIVITY_OF: Final = {"fetch": FETCHING, "collate": COLLATING, "emit": CONSUMING}
"""Activities of the stages that launch no work; other names are ``OWN_STAGE``."""


ACTIVITY_LABELS: Final = {
    FETCHING: "waiting for data",
    COLLATING: "collating",
    LAUNCHING: "in the model's stages",
    CONSUMING: "in the consumer of results",
    OWN_STAGE: "in other stages",
    UNSTAGED: "outside of all stages",
    UNKNOWN: "in batches without their device times",
}
"""Labels of activities in reports."""

LOADER_STAGES: Final = frozenset({"fetch", "collate"})
"""Stages that get the data of a batch, before any work on it is launched."""


class Segment(NamedTuple):
    """Time in which the host did one thing.

    Attributes:
        start_ns: Start on the host's clock.
        end_ns: End on the host's clock.
        activity: One of ``ACTIVITIES``.
    """

    start_ns: int
    end_ns: int
    activity: str


class HostTimeline:
    """Activity of the host in a window, as consecutive segments with different activities.

    Args:
        bounds: Column of shape (segments + 1,), ns. Segment i lasts from bound i to bound i + 1.
        activities: Column of shape (segments,) of positions in ``ACTIVITIES``.
    """

    def __init__(self, bounds: Column, activities: NDArray[np.int8]) -> None:
        self.bounds = bounds
        self.activities = activities

    @property
    def segments(self) -> list[Segment]:
        """All segments as records."""
        times = self.bounds.tolist()
        return [
            Segment(start, end, ACTIVITIES[number])
            for (start, end), number in zip(pairwise(times), self.activities.tolist(), strict=True)
        ]

    def at(self, moments_ns: Column) -> Column:
        """Return the position of the segment at each time; -1 outside of the window.

        Args:
            moments_ns: Times on the host's clock.
        """
        places = np.searchsorted(self.bounds, moments_ns, side="right") - 1
        return np.where(places < len(self.activities), places, -1)

    def during(self, starts: Column, ends: Column) -> tuple[Column, Column, Column]:
        """Return the activities of the host in some non-empty intervals.

        Args:
            starts: Starts of the intervals, ns.
            ends: Ends of the intervals, ns.

        Returns:
            Columns of shape (pieces,) in order of time: position of the interval, number of the activity, and its
            duration in ns.
        """
        count = len(self.activities)
        first = np.clip(np.searchsorted(self.bounds, starts, side="right") - 1, 0, count)
        last = np.clip(np.searchsorted(self.bounds, ends, side="left"), first, count)
        pieces = last - first
        interval = np.repeat(np.arange(len(starts)), pieces)
        segment = np.arange(len(interval)) - np.repeat(np.cumsum(pieces) - pieces - first, pieces)
        low = np.maximum(self.bounds[segment], starts[interval])
        return interval, self.activities[segment], np.minimum(self.bounds[segment + 1], ends[interval]) - low


def host_timeline(batches: BatchTable, window: Interval) -> HostTimeline:
    """Return the activity of the host in a window.

    A batch without its device times is ``unknown`` from its first launch on, because the device worked for an unknown
    time. The host is ``launching`` also between a device stage and a replay after it in the same batch, which it
    prepares.

    Args:
        batches: Batches of the run.
        window: Start and end on the host's clock, ns.
    """
    stages = batches.stages
    launching = device_stage_names(stages)
    activity_of = {**_ACTIVITY_OF, **dict.fromkeys(launching, LAUNCHING)}
    number_of = np.array([ACTIVITIES.index(activity_of.get(name, OWN_STAGE)) for name in stages.names], np.int8)
    lost_starts, lost_ends = lost_times(batches)
    host_starts = _with_preparation(stages, launching)
    starts, ends = clip(np.append(host_starts, lost_starts), np.append(stages.host_end_ns, lost_ends), window)
    activities = np.append(number_of[stages.name], np.full(len(lost_starts), ACTIVITIES.index(UNKNOWN), np.int8))
    whole = starts < ends
    return _tiled(starts[whole], ends[whole], activities[whole], window)


def _with_preparation(stages: StageColumns, launching: frozenset[str]) -> Column:
    """Return the host starts of stages, where a replay begins with the end of the device stage before it."""
    starts: Column = stages.host_start_ns.copy()
    replays = np.flatnonzero(stages.timestamped[1:] == 1) + 1
    replays = replays[(stages.batch[replays] == stages.batch[replays - 1]) & stages.named(launching)[replays - 1]]
    starts[replays] = np.minimum(starts[replays], stages.host_end_ns[replays - 1])
    return starts


def _tiled(starts: Column, ends: Column, activities: NDArray[np.int8], window: Interval) -> HostTimeline:
    """Return the timeline of stages inside a window, each with its activity, resolving overlaps by priority."""
    low, high = window
    if low >= high:
        return HostTimeline(np.array([low], np.int64), np.array([], np.int8))
    bounds, places = np.unique(np.concatenate((starts, ends, [low, high])), return_inverse=True)
    places = places.reshape(-1)
    counts = np.full(len(bounds) - 1, ACTIVITIES.index(UNSTAGED), np.int8)
    for number in reversed(range(len(ACTIVITIES) - 1)):
        mine = activities == number
        begun = np.bincount(places[: len(starts)][mine], minlength=len(bounds))
        ended = np.bincount(places[len(starts) : -2][mine], minlength=len(bounds))
        counts[np.cumsum(begun - ended)[:-1] > 0] = number
    changes = np.flatnonzero(np.diff(counts)) + 1
    return HostTimeline(bounds[np.concatenate(([0], changes, [len(bounds) - 1]))], counts[np.append(0, changes)])


def lost_times(batches: BatchTable) -> tuple[Column, Column]:
    """Return starts and ends of the times from the first launch to the end of each batch without its device times.

    Args:
        batches: Batches of the run.
    """
    launching = batches.stages[batches.stages.named(device_stage_names(batches.stages))]
    lost = batches.flagged(DEVICE_TIMES_DROPPED)
    first = np.full(len(lost), np.iinfo(np.int64).max)
    np.minimum.at(first, launching.batch, launching.host_start_ns)
    return first[lost], batches.columns["host_end_ns"][lost]


def device_stage_names(stages: StageColumns) -> frozenset[str]:
    """Return the names of the stages that launch work: the pipeline's own, and others with a device interval.

    Args:
        stages: Stages of the run.
    """
    own = np.unique(stages.name[stages.device_end_ns != NOT_MEASURED])
    return frozenset(DEVICE_STAGES).union(stages.names[number] for number in own)
