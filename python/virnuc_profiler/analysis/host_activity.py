# SPDX-License-Identifier: MIT
"""What the host was doing at each moment of a run, from the host intervals of its stages."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from virnuc_profiler.analysis.intervals import Interval, clip, subtract, union
from virnuc_profiler.telemetry.records import DEVICE_STAGES, BatchRecord

LAUNCHING: Final = "launching"
CONSUMING: Final = "consuming"
OWN_STAGE: Final = "own stage"
COLLATING: Final = "collating"
FETCHING: Final = "fetching"
UNSTAGED: Final = "unstaged"
UNKNOWN: Final = "unknown"

_PRIORITY: Final = (UNKNOWN, LAUNCHING, CONSUMING, OWN_STAGE, COLLATING, FETCHING)
"""Which one counts where stages overlap. A device stage or ``emit`` is the loop itself at work, whatever a worker
collates meanwhile; ``collate`` inside ``fetch`` is what the loop waited for."""


class Segment(NamedTuple):
    """The host did one thing, ns."""

    start_ns: int
    end_ns: int
    activity: str


class HostTimeline:
    """Segments that tile a window in order."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = segments
        self._starts = [segment.start_ns for segment in segments]

    def at(self, moment_ns: int) -> Segment | None:
        """The segment that holds a moment; None outside of the window."""
        place = bisect_right(self._starts, moment_ns) - 1
        if place < 0 or moment_ns >= self.segments[place].end_ns:
            return None
        return self.segments[place]

    def during(self, interval: Interval) -> Iterator[tuple[str, int]]:
        """Activity and duration, ns, of each piece of `interval`, in order."""
        start, end = interval
        place = max(bisect_right(self._starts, start) - 1, 0)
        while place < len(self.segments) and self.segments[place].start_ns < end:
            segment = self.segments[place]
            piece_ns = min(segment.end_ns, end) - max(segment.start_ns, start)
            if piece_ns > 0:
                yield segment.activity, piece_ns
            place += 1


def host_timeline(batches: Sequence[BatchRecord], window: Interval) -> HostTimeline:
    """What the host did throughout `window`.

    A batch whose device times were dropped is ``unknown`` from its first launch on: the device was at work then,
    nobody knows how long.
    """
    device_stages = device_stage_names(batches)
    found: dict[str, list[Interval]] = {activity: [] for activity in _PRIORITY}
    for batch in batches:
        launches = []
        for stage in batch.stages:
            interval = (stage.host_start_ns, stage.host_end_ns)
            found[_activity(stage.name, device_stages)].append(interval)
            if stage.name in device_stages:
                launches.append(stage.host_start_ns)
        if batch.device_times_dropped and launches:
            found[UNKNOWN].append((min(launches), batch.host_end_ns))
    segments: list[Segment] = []
    taken: list[Interval] = []
    for activity in _PRIORITY:
        mine = subtract(clip(found[activity], window), taken)
        segments.extend(Segment(start, end, activity) for start, end in mine)
        taken = union(taken + mine)
    segments.extend(Segment(start, end, UNSTAGED) for start, end in subtract([window], taken))
    return HostTimeline(sorted(segments))


def device_stage_names(batches: Iterable[BatchRecord]) -> frozenset[str]:
    """The stages that launch work: the four of the pipeline, and others that had a device interval."""
    own = {stage.name for batch in batches for stage in batch.stages if stage.device_end_ns is not None}
    return frozenset(own.union(DEVICE_STAGES))


def _activity(stage: str, device_stages: frozenset[str]) -> str:
    if stage in device_stages:
        return LAUNCHING
    return {"fetch": FETCHING, "collate": COLLATING, "emit": CONSUMING}.get(stage, OWN_STAGE)
