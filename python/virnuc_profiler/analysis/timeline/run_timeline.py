# SPDX-License-Identifier: MIT
"""All that a run's page shows over time, on one axis: stages, batches, idle time and its causes, GPU readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from virnuc_profiler.analysis.timeline.batch_pace import BatchPace, batch_pace
from virnuc_profiler.analysis.timeline.exact_part import MAX_EXACT_INTERVALS, ExactPart, exact_part
from virnuc_profiler.analysis.timeline.idle_causes import IDLE_CAUSES, IdleTime, idle_time
from virnuc_profiler.analysis.timeline.sampled_curves import Curve, Throttling, gpu_curves, throttling
from virnuc_profiler.analysis.timeline.stage_lanes import Lane, stage_lanes
from virnuc_profiler.analysis.timeline.time_buckets import (
    Extremes,
    bucket_edges,
    covered_ns,
    moment_extremes,
    span_extremes,
    summed_ns,
)
from virnuc_profiler.analysis.timing.intervals import Interval, clip, union
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.stage_columns import Column, Mask

REST_BUCKETS: Final = 16_384
"""Number of buckets for the batches that are not kept exactly."""


@dataclass(frozen=True, eq=False)
class Reduced:
    """A run, or a part of its batches, in buckets of time. Columns have the shape (buckets,).

    Attributes:
        edges: Edges of the buckets on the host's clock, ns, of shape (buckets + 1,).
        covered: Time in which at least one batch was in the stage, ns, by lane.
        counts: Number of intervals that end in each bucket, by lane.
        longest: Longest of these intervals, ns, by lane; 0 without one.
        idle: Idle time of the device by cause, ns, in the order of ``IDLE_CAUSES``.
        in_flight: Time of all batches from start to end, ns; divided by the bucket's length, the batches in flight.
        pace: Time of each batch from the completion of the one before, ns, by the moment of its completion.
    """

    edges: Column
    covered: Sequence[Column]
    counts: Sequence[Column]
    longest: Sequence[Column]
    idle: Sequence[Column]
    in_flight: Column
    pace: Extremes


@dataclass(frozen=True, eq=False)
class RunTimeline:
    """A run over time. All times are ns on the host's clock.

    Attributes:
        span: Start and end of the run.
        batches: Batches of the run.
        lanes: Stages on the host, then on the device.
        pace: Times of the batches.
        idle: Idle time of the device with its causes.
        curves: Readings of the GPU.
        throttling: Times of lowered clocks.
        stops: Disjoint times in order in which the run was stopped, such as by a signal; its gaps have other causes.
        exact: The batches whose times a page keeps exactly.
    """

    span: Interval
    batches: BatchTable
    lanes: Sequence[Lane]
    pace: BatchPace
    idle: IdleTime
    curves: Sequence[Curve]
    throttling: Sequence[Throttling]
    stops: Sequence[Interval]
    exact: ExactPart

    @property
    def elapsed_ns(self) -> int:
        """Length of the run."""
        return max(self.span[1] - self.span[0], 0)

    @cached_property
    def rest(self) -> Reduced | None:
        """The batches that are not kept exactly, in buckets; None if all are."""
        if self.exact.whole:
            return None
        return self.reduced(bucket_edges(self.span, REST_BUCKETS), ~self.exact.batches, ~self.exact.gaps)

    def reduced(self, edges: Column, batches: Mask | None = None, gaps: Mask | None = None) -> Reduced:
        """Return the run in buckets of time.

        Args:
            edges: Edges of the buckets, ns, ascending.
            batches: Mask of the batches to include; by default all.
            gaps: Mask of the gaps to include; by default all.
        """
        covered, counts, longest = [], [], []
        for lane in self.lanes:
            rows = slice(None) if batches is None else batches[lane.batch]
            starts, ends = lane.start_ns[rows], lane.end_ns[rows]
            found = moment_extremes(ends, ends - starts, edges)
            covered.append(covered_ns(starts, ends, edges))
            counts.append(found.counts)
            longest.append(np.nan_to_num(found.high).astype(np.int64))
        chosen = slice(None) if batches is None else batches
        return Reduced(
            edges=edges,
            covered=covered,
            counts=counts,
            longest=longest,
            idle=self._idle_by_cause(edges, gaps),
            in_flight=summed_ns(self.pace.start_ns[chosen], self.pace.end_ns[chosen], edges),
            pace=moment_extremes(self.pace.completed_ns[chosen], self.pace.interval_ns[chosen], edges),
        )

    def reduced_curve(self, curve: Curve, edges: Column) -> Extremes:
        """Return a curve in buckets of time.

        Args:
            curve: One of the run's curves.
            edges: Edges of the buckets, ns, ascending.
        """
        return span_extremes(curve.start_ns, curve.end_ns, curve.values, edges)

    def _idle_by_cause(self, edges: Column, gaps: Mask | None) -> list[Column]:
        found = []
        for number in range(len(IDLE_CAUSES)):
            rows = self.idle.cause == number
            if gaps is not None:
                rows &= gaps[self.idle.gap]
            gap = self.idle.gap[rows]
            amounts = self.idle.cause_ns[rows]
            found.append(summed_ns(self.idle.start_ns[gap], self.idle.end_ns[gap], edges, amounts))
        return found


def timeline_of(run: RunResult, *, max_exact_intervals: int = MAX_EXACT_INTERVALS) -> RunTimeline:
    """Return a run over time.

    Args:
        run: The run.
        max_exact_intervals: Number of stage intervals up to which all batches are kept exactly.
    """
    span = (run.host_start_ns, max(run.host_end_ns, run.host_start_ns))
    lanes = stage_lanes(run.batches)
    pace, idle = batch_pace(run.batches), idle_time(run)
    return RunTimeline(
        span=span,
        batches=run.batches,
        lanes=lanes,
        pace=pace,
        idle=idle,
        curves=gpu_curves(run.gpu, span),
        throttling=throttling(run.gpu, span),
        stops=clip(union((stop.start_ns, stop.end_ns) for stop in run.stops or ()), span),
        exact=exact_part(pace, idle, sum(map(len, lanes)), limit=max_exact_intervals),
    )
