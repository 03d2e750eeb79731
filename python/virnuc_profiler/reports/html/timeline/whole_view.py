# SPDX-License-Identifier: MIT
"""What the charts of a run show at first: the whole run in some hundred parts, without any script.

It is also what a browser shows that cannot unpack the times of single batches. The shapes are those of
``scripts/drawing.js``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from virnuc_profiler.analysis.timeline.run_timeline import Reduced, RunTimeline
from virnuc_profiler.analysis.timeline.sampled_curves import Curve
from virnuc_profiler.analysis.timeline.time_buckets import Extremes, Values, bucket_edges
from virnuc_profiler.telemetry.stage_columns import Column, Mask

PARTS: Final = 600
"""Parts of the whole run that are shown at first."""

LEAST_SHARE: Final = 0.08
"""Height of a bar that stands for any time at all, as a share of its lane."""

Shapes = dict[str, Values]
"""Columns of a chart's data source, times in seconds from the start of the run."""


@dataclass(frozen=True, slots=True)
class Place:
    """Vertical place of a lane in the chart.

    Attributes:
        bottom: Lower end.
        top: Upper end.
    """

    bottom: float
    top: float


class WholeView:
    """The shapes of the whole run.

    Args:
        timeline: The run over time.
    """

    def __init__(self, timeline: RunTimeline) -> None:
        self.timeline = timeline
        self.edges: Column = bucket_edges(timeline.span, PARTS)
        self.reduced: Reduced = timeline.reduced(self.edges)
        self.seconds: Values = (self.edges - timeline.span[0]) / 1e9
        self.lengths: Values = np.maximum(np.diff(self.edges), 1).astype(np.float64)

    @cached_property
    def most_in_flight(self) -> float:
        """Largest number of batches in flight at once, at least 1."""
        starts, ends = np.sort(self.timeline.pace.start_ns), np.sort(self.timeline.pace.end_ns)
        begun = np.arange(1, len(starts) + 1)
        return float(max(1, (begun - np.searchsorted(ends, starts, side="right")).max(initial=1)))

    def lane(self, number: int, place: Place) -> Shapes:
        """Return the bars of a lane.

        Args:
            number: Number of the lane.
            place: Where the lane lies.
        """
        return self._bars(self.reduced.covered[number] / self.lengths, place)

    def flight(self, place: Place) -> Shapes:
        """Return the bars of the batches in flight.

        Args:
            place: Where their lane lies.
        """
        return self._bars(self.reduced.in_flight / self.lengths / self.most_in_flight, place)

    def idle(self, place: Place) -> list[Shapes]:
        """Return the bars of the idle time for each cause, stacked.

        Args:
            place: Where its lane lies.
        """
        shares = np.array(self.reduced.idle) / self.lengths
        total = shares.sum(axis=0)
        drawn = np.where(total > 1e-9, np.clip(total, LEAST_SHARE, 1.0), 0.0)
        scale = np.divide(drawn, total, out=np.zeros_like(total), where=total > 1e-9)
        heights = shares * scale * (place.top - place.bottom)
        tops = place.bottom + np.cumsum(heights, axis=0)
        return [self._quads(height > 0, top - height, top) for height, top in zip(heights, tops, strict=True)]

    def pace_band(self) -> Shapes:
        """Return the least to the largest time of the batches that complete in each part, ms."""
        found = self.reduced.pace
        return self._band(np.maximum(found.low, 1) / 1e6, np.maximum(found.high, 1) / 1e6)

    def pace_mean(self) -> Shapes:
        """Return the mean time of these batches, ms, as a line. A part without one shows the batch that lasts in it."""
        pace, found = self.timeline.pace, self.reduced.pace.mean.copy()
        empty = np.flatnonzero(self.reduced.pace.counts == 0)
        if len(pace.order) and len(empty):
            completed, since = pace.completed_ns[pace.order], pace.since_ns[pace.order]
            later = np.searchsorted(completed, self.edges[empty])
            known = np.minimum(later, len(completed) - 1)
            inside = (later < len(completed)) & (since[known] < self.edges[empty + 1])
            found[empty[inside]] = (completed - since)[known[inside]]
        return self._line(np.maximum(found, 1) / 1e6)

    def curve(self, curve: Curve) -> tuple[Shapes, Shapes]:
        """Return the band from the least to the largest value of a curve, and its mean as a line.

        Args:
            curve: One of the run's curves.
        """
        found: Extremes = self.timeline.reduced_curve(curve, self.edges)
        return self._band(found.low, found.high), self._line(found.mean)

    def _bars(self, shares: Values, place: Place) -> Shapes:
        drawn = np.where(shares > 1e-9, np.clip(shares, LEAST_SHARE, 1.0), 0.0)
        top = place.bottom + drawn * (place.top - place.bottom)
        return self._quads(drawn > 0, np.full(len(drawn), place.bottom), top)

    def _quads(self, chosen: Mask, bottom: Values, top: Values) -> Shapes:
        rows = np.flatnonzero(chosen)
        return {
            "left": self.seconds[:-1][rows],
            "right": self.seconds[1:][rows],
            "bottom": bottom[rows].astype(np.float64),
            "top": top[rows].astype(np.float64),
        }

    def _band(self, low: Values, high: Values) -> Shapes:
        """Return an area between two steps. It has no height, at the value before, where nothing is known."""
        known = np.maximum.accumulate(np.where(np.isnan(high), -1, np.arange(len(high))))
        filled = np.where(known < 0, 1.0, high[known])
        lower, upper = (np.where(np.isnan(high), filled, each) for each in (low, high))
        return {"x": np.repeat(self.seconds, 2)[1:-1], "y1": np.repeat(lower, 2), "y2": np.repeat(upper, 2)}

    def _line(self, mean: Values) -> Shapes:
        return {"x": np.repeat(self.seconds, 2)[1:-1], "y": np.repeat(mean, 2)}
