# SPDX-License-Identifier: MIT
"""The times of stages in the page of a run: a table of percentiles, and the distribution of each stage."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from virnuc_profiler.analysis.timeline.run_timeline import RunTimeline
from virnuc_profiler.analysis.timeline.stage_lanes import Lane
from virnuc_profiler.analysis.timeline.time_buckets import Values
from virnuc_profiler.analysis.timing.interval_columns import length_by_group
from virnuc_profiler.reports.figures import number, share
from virnuc_profiler.reports.html.figures_html import Figure, themed
from virnuc_profiler.reports.html.html_table import Cell, Row, html_table
from virnuc_profiler.reports.html.html_table import Column as Heading
from virnuc_profiler.reports.html.page import Section
from virnuc_profiler.reports.html.plain_plot import label_lanes, plain_plot
from virnuc_profiler.reports.html.safe_text import chart_text
from virnuc_profiler.reports.html.timeline.stage_colors import stage_color

_BINS: Final = 120
_PERCENTS: Final = (50, 95, 99)
_ROW: Final = 34
"""Pixels of a stage's distribution."""


class StageTimes(NamedTuple):
    """The time of one stage in each batch that has it.

    Attributes:
        lane: The stage, on the host or on the device.
        times_ms: Time in each batch, where repeated and overlapping intervals count once, ascending.
    """

    lane: Lane
    times_ms: Values

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile over the batches.

        Args:
            percent: From 0 to 100.
        """
        return float(np.percentile(self.times_ms, percent))


def stage_times(lane: Lane) -> StageTimes:
    """Return the times of a stage by batch.

    Args:
        lane: The stage, on the host or on the device; not empty.
    """
    if (np.diff(lane.batch) > 0).all():
        times = lane.end_ns - lane.start_ns
    else:
        batches, group = np.unique(lane.batch, return_inverse=True)
        times = length_by_group(lane.start_ns, lane.end_ns, group.reshape(-1), len(batches))
    return StageTimes(lane, np.sort(np.maximum(times, 0)) / 1e6)


def stage_section(timeline: RunTimeline) -> Section:
    """Return the section on the times of stages.

    Args:
        timeline: The run over time.
    """
    stages = [stage_times(lane) for lane in timeline.lanes if len(lane)]
    if not stages:
        return Section("stages", "Stage times", ["The run has no stages."])
    columns = [
        Heading("Stage"), Heading("Where"), Heading("Batches", numeric=True),
        *(Heading(f"p{percent}, ms", numeric=True, first="descending") for percent in _PERCENTS),
        Heading("Largest, ms", numeric=True, first="descending"),
        Heading("Share of the run", numeric=True, first="descending", help="Time in which a batch was in the stage"),
    ]  # fmt: skip
    table = html_table(columns, [_row(one, timeline.elapsed_ns) for one in stages], caption="Times of stages")
    note = (
        "Times are per batch. Stages overlap, so that shares need not add up to 100 %. Device times include waits for "
        "launches inside a stage, except where the device timed it itself."
    )
    return Section("stages", "Stage times", [table, _figure(stages)], note=note)


def _row(one: StageTimes, elapsed_ns: int) -> Row:
    lane = one.lane
    values = [*(one.percentile_ms(percent) for percent in _PERCENTS), float(one.times_ms[-1])]
    covered = lane.covered_ns / elapsed_ns if elapsed_ns else None
    return Row(
        [
            Cell(lane.name, lane.name), "GPU" if lane.on_device else "host",
            Cell(f"{len(one.times_ms):,}", len(one.times_ms)), *(Cell(number(value, 3), value) for value in values),
            Cell(share(covered), covered),
        ]
    )  # fmt: skip


def _figure(stages: list[StageTimes]) -> Figure:
    from bokeh.models import Range1d

    positive = [one.times_ms[one.times_ms > 0] for one in stages]
    low = min((float(times[0]) for times in positive if len(times)), default=1e-3)
    high = max((float(times[-1]) for times in positive if len(times)), default=1.0)
    edges = np.geomspace(low / 1.3, high * 1.3, _BINS + 1)
    plot = plain_plot(
        x_axis_type="log", x_range=Range1d(start=edges[0], end=edges[-1]), height=_ROW * len(stages) + 52, tools=[],
        y_range=Range1d(start=-len(stages) - 0.05, end=0.15), min_border_left=100,
    )  # fmt: skip
    plot.xaxis.axis_label = "ms per batch, log scale"
    labels = {}
    for place, one in enumerate(stages):
        bottom = -place - 0.92
        labels[bottom + 0.3] = _label(one.lane)
        _ridge(plot, one, edges, bottom)
    label_lanes(plot, labels)
    return Figure(
        plot,
        "Distribution of each stage's time: height is the number of batches. Marks are p50, p95 and p99.",
        alternative="The table above has the percentiles of each stage.",
        height=plot.height,
    )


def _label(lane: Lane) -> str:
    short = chart_text(lane.name, 60)
    most = 11 if lane.on_device else 15
    short = short if len(short) <= most else short[: most - 1] + "…"
    return f"GPU · {short}" if lane.on_device else short


def _ridge(plot: Any, one: StageTimes, edges: Values, bottom: float) -> None:
    from bokeh.models import ColumnDataSource, HoverTool

    counts, _ = np.histogram(one.times_ms, edges)
    filled = np.flatnonzero(counts)
    tops = bottom + 0.85 * np.maximum(counts[filled] / max(int(counts.max()), 1), 0.03)
    source = ColumnDataSource(
        {
            "left": edges[:-1][filled], "right": edges[1:][filled], "bottom": np.full(len(filled), bottom), "top": tops,
            "count": counts[filled],
        }
    )  # fmt: skip
    bars = plot.quad(left="left", right="right", bottom="bottom", top="top", source=source, line_color=None)
    themed(bars.glyph, fill_color=stage_color(one.lane.name))
    tips = [("batches", "@count{0,0}"), ("ms", "@left{0,0.0000} to @right{0,0.0000}")]
    plot.add_tools(HoverTool(renderers=[bars], tooltips=tips, point_policy="follow_mouse"))
    marks = [one.percentile_ms(percent) for percent in _PERCENTS]
    lines = plot.segment(
        x0=marks, x1=marks, y0=[bottom] * len(marks), y1=[bottom + 0.85, bottom + 0.55, bottom + 0.35], line_width=1.5
    )
    themed(lines.glyph, line_color="ink")
