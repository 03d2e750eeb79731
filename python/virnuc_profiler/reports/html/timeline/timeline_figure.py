# SPDX-License-Identifier: MIT
"""The charts of a run over time: pace, stages and idle time, and the readings of the GPU, all on one time axis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from virnuc_profiler.analysis.timeline.idle_causes import IDLE_CAUSES
from virnuc_profiler.analysis.timeline.run_timeline import RunTimeline
from virnuc_profiler.analysis.timeline.sampled_curves import Curve
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.reports.html.chart_frame import FONT
from virnuc_profiler.reports.html.figures_html import themed
from virnuc_profiler.reports.html.plain_plot import label_lanes, plain_plot
from virnuc_profiler.reports.html.safe_text import chart_text
from virnuc_profiler.reports.html.timeline.stage_colors import CAUSE_COLORS, stage_color
from virnuc_profiler.reports.html.timeline.whole_view import Place, Shapes, WholeView

X_RANGE: Final = "timeline-x"
GANTT: Final = "timeline-gantt"
PACE: Final = "timeline-pace"

_LEFT: Final = 100
"""Pixels left of all charts, so that their time axes lie under each other."""
_LANE: Final = 22
"""Pixels of a lane."""
_LABEL: Final = 15
"""Characters of a lane's label."""
_AXIS: Final = 26
_TITLE: Final = 24
_BELOW: Final = 6
"""Pixels below a chart without an axis, for the lower half of its last label."""
_PANELS_HEIGHT: Final = {"activity": 96, "power": 80, "clock": 80, "memory": 48, "temperature": 48}
"""Pixels of the frames of readings."""

_PANELS: Final = {
    "activity": "Activity, %",
    "power": "Power, W",
    "clock": "Clocks, MHz",
    "memory": "Memory in use, GB",
    "temperature": "Temperature, °C",
}
_CURVE_COLORS: Final = {
    "sm_activity": "series-1",
    "tensor_activity": "series-5",
    "dram_activity": "series-3",
    "utilization_percent": "series-8",
    "power_mw": "series-2",
    "sm_clock_mhz": "series-1",
    "memory_clock_mhz": "series-8",
    "used_memory_bytes": "series-4",
    "temperature_c": "series-5",
}


@dataclass
class TimelineFigure:
    """The charts, and where what lies in them.

    Attributes:
        model: Bokeh layout of all charts.
        height: Height of the layout, pixels.
        charts: Names of the charts from top to bottom.
        lanes: Places of the lanes of stages.
        flight: Place of the batches in flight; None without batches.
        idle: Place of the device's idle time; None if it is not known.
        most_in_flight: Number of batches in flight that fills their lane.
        colors: Names of the colors of all bars.
    """

    model: Any
    height: int
    charts: list[str] = field(default_factory=list)
    lanes: list[Place] = field(default_factory=list)
    flight: Place | None = None
    idle: Place | None = None
    most_in_flight: float = 1.0
    colors: list[str] = field(default_factory=list)


def timeline_figure(timeline: RunTimeline) -> TimelineFigure | None:
    """Return the charts of a run, which show all of it; None for a run with nothing to show.

    Args:
        timeline: The run over time.
    """
    from bokeh.models import Column, CrosshairTool, Range1d
    from bokeh.models.annotations import Span

    elapsed_s = max(timeline.elapsed_ns, 1) / 1e9
    x_range = Range1d(start=0, end=elapsed_s, bounds=(0, elapsed_s), min_interval=min(1e-7, elapsed_s), name=X_RANGE)
    view = WholeView(timeline)
    found = TimelineFigure(None, 0, most_in_flight=view.most_in_flight)
    plots: list[Any] = []
    if len(timeline.batches):
        plots += [_pace(view, x_range), _gantt(view, x_range, found)]
    plots += _panels(view, x_range)
    if not plots:
        return None
    span = Span(dimension="height", line_width=1, line_dash="dotted")
    themed(span, line_color="ink-3")
    for plot in plots:
        plot.add_tools(CrosshairTool(overlay=span))
    plots[-1].xaxis.visible = True
    plots[-1].height += 0 if plots[-1].name == GANTT else _AXIS
    found.model = Column(children=plots, sizing_mode="stretch_width", spacing=0)
    found.height = sum(plot.height for plot in plots)
    found.charts = [plot.name for plot in plots]
    return found


def _plot(name: str, x_range: Any, height: int, title: str = "", **options: Any) -> Any:
    from bokeh.models import PanTool

    plot = plain_plot(
        title, name=name, x_range=x_range, height=height, tools=[PanTool(dimensions="width")], min_border_left=_LEFT,
        min_border_right=12, min_border_top=0, min_border_bottom=_BELOW, output_backend="canvas", **options,
    )  # fmt: skip
    plot.xaxis.ticker.desired_num_ticks = 6
    plot.xaxis.visible = False
    return plot


def _source(name: str, shapes: Shapes) -> Any:
    from bokeh.models import ColumnDataSource

    return ColumnDataSource(data=shapes, name=name)


def _quads(plot: Any, name: str, shapes: Shapes, color: str, alpha: float = 1.0) -> Any:
    bars = plot.quad(
        left="left", right="right", bottom="bottom", top="top", source=_source(name, shapes), line_color=None,
        fill_alpha=alpha,
    )  # fmt: skip
    themed(bars.glyph, fill_color=color)
    return bars


def _band(plot: Any, name: str, shapes: Shapes, color: str) -> None:
    band = plot.varea(x="x", y1="y1", y2="y2", source=_source(name, shapes), fill_alpha=0.3)
    themed(band.glyph, fill_color=color)


def _line(plot: Any, name: str, shapes: Shapes, color: str, width: float = 1.25) -> Any:
    line = plot.line(x="x", y="y", source=_source(name, shapes), line_width=width)
    themed(line.glyph, line_color=color)
    return line


def _pace(view: WholeView, x_range: Any) -> Any:
    from bokeh.models import LogTicker, Range1d

    pace = view.timeline.pace
    times_ms = [max(int(value), 1) / 1e6 for value in (pace.interval_ns.min(), pace.interval_ns.max())]
    plot = _plot(
        PACE, x_range, 110, "Time per batch, ms (log)",
        y_axis_type="log", y_range=Range1d(start=times_ms[0] / 1.5, end=times_ms[1] * 1.5),
    )  # fmt: skip
    plot.yaxis.ticker = LogTicker(mantissas=[1, 2, 5], desired_num_ticks=4)
    _band(plot, "pace-band", view.pace_band(), "series-1")
    _line(plot, "pace-mean", view.pace_mean(), "series-1")
    return plot


def _gantt(view: WholeView, x_range: Any, found: TimelineFigure) -> Any:
    from bokeh.models import Range1d

    timeline = view.timeline
    rows = [(min(max(1.2, 0.62 * view.most_in_flight), 4.0), "batches")]
    rows += [(1.0, _lane_label(lane.name, lane.on_device)) for lane in timeline.lanes]
    rows += [(1.5, "GPU · idle")] if len(timeline.idle.start_ns) else []
    places, labels, top = [], {}, 0.0
    for size, label in rows:
        place = Place(round(top - 0.88 * size, 6), top)
        places.append(place)
        labels[(place.bottom + place.top) / 2] = label
        top = round(top - size, 6)
    height = int(_LANE * -top) + _TITLE + _AXIS + 4
    plot = _plot(
        GANTT, x_range, height, "Stages: full height is all the time", y_range=Range1d(start=top - 0.05, end=0.12)
    )
    plot.xaxis.visible = True
    label_lanes(plot, labels)
    _spans(plot, timeline, "stops", timeline.stops, "bad", 0.14, (top - 0.05, 0.12))
    remaining = iter(places)
    found.flight = next(remaining)
    _flight(plot, view, found.flight)
    bars: dict[str, list[Shapes]] = defaultdict(list)  # those of one color share a source, which is faster to feed
    for number, lane in enumerate(timeline.lanes):
        found.lanes.append(next(remaining))
        bars[stage_color(lane.name)].append(view.lane(number, found.lanes[-1]))
    if len(timeline.idle.start_ns):
        found.idle = next(remaining)
        for cause, shapes in zip(IDLE_CAUSES, view.idle(found.idle), strict=True):
            bars[CAUSE_COLORS[cause]].append(shapes)
    for color, parts in bars.items():
        shapes = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        _quads(plot, f"bars-{color}", shapes, color)
    found.colors = list(bars)
    return plot


def _flight(plot: Any, view: WholeView, place: Place) -> None:
    _quads(plot, "flight", view.flight(place), "line-2")
    names = plot.text(
        x="x", y="y", text="text", source=_source("flight-names", {"x": [], "y": [], "text": []}),  # type: ignore[dict-item]
        text_align="center", text_baseline="middle", text_font_size="10px", text_font={"value": FONT},
    )  # fmt: skip
    themed(names.glyph, text_color="ink")


def _lane_label(name: str, on_device: bool) -> str:
    short = chart_text(name, 60)
    short = short if len(short) <= _LABEL - 4 * on_device else short[: _LABEL - 1 - 4 * on_device] + "…"
    return f"GPU · {short}" if on_device else short


def _panels(view: WholeView, x_range: Any) -> Iterator[Any]:
    """Yield a chart for each unit of the readings, with the times of lowered clocks behind it."""
    timeline = view.timeline
    for panel, title in _PANELS.items():
        curves = [(number, curve) for number, curve in enumerate(timeline.curves) if curve.quantity.panel == panel]
        if curves:
            yield _panel(view, x_range, title, curves)


def _panel(view: WholeView, x_range: Any, title: str, curves: Sequence[tuple[int, Curve]]) -> Any:
    from bokeh.models import Range1d
    from bokeh.models.annotations import Legend

    panel = curves[0][1].quantity.panel
    largest = max(float(curve.values.max()) for _, curve in curves)
    top = 105.0 if panel == "activity" else max(largest, 1e-9) * 1.12
    plot = _plot(f"timeline-{panel}", x_range, _PANELS_HEIGHT[panel] + _TITLE, title, y_range=Range1d(start=0, end=top))
    plot.yaxis.ticker.desired_num_ticks = 2 if panel in ("memory", "temperature") else 4
    if panel in ("power", "clock"):
        _throttling(plot, view.timeline, top)
    lines = []
    for number, curve in curves:
        color = _CURVE_COLORS[curve.quantity.key]
        band, line = view.curve(curve)
        _band(plot, f"curve-{number}-band", band, color)
        lines.append((curve.quantity.short, [_line(plot, f"curve-{number}-line", line, color, 1.5)]))
    if len(lines) > 1:
        options: dict[str, Any] = {"padding": 0, "margin": 0, "spacing": 8, "border_line_color": None}
        legend = Legend(
            items=lines, orientation="horizontal", location=(0, 0), label_text_font_size="11px", label_text_font=FONT,
            glyph_height=10, glyph_width=14, label_height=12, label_standoff=3, **options,
        )  # fmt: skip
        plot.add_layout(legend, "above")
        plot.height += 16
    return plot


def _throttling(plot: Any, timeline: RunTimeline, top: float) -> None:
    for one in timeline.throttling:
        color, alpha = ("bad", 0.3) if one.hard else ("warning", 0.14)
        _spans(plot, timeline, f"throttling-{one.reason}", one.intervals, color, alpha, (0.0, top))


def _spans(
    plot: Any, timeline: RunTimeline, name: str, times: Sequence[Interval], color: str, alpha: float,
    height: tuple[float, float],
) -> None:  # fmt: skip
    """Shade some times over all of a chart's height; nothing without any."""
    if not times:
        return
    seconds = (np.array(times, np.int64) - timeline.span[0]) / 1e9
    bottom, top = (np.full(len(times), end) for end in height)
    _quads(plot, name, {"left": seconds[:, 0], "right": seconds[:, 1], "bottom": bottom, "top": top}, color, alpha)
