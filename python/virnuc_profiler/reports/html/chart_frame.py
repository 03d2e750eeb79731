# SPDX-License-Identifier: MIT
"""The frame that all charts share: fonts, tools, margins, and what the pointer shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from virnuc_profiler.reports.html.figures_html import themed
from virnuc_profiler.reports.html.safe_text import chart_text

FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', sans-serif"

_TOOLTIP: Final = (
    '<div style="margin: -6px; padding: 6px 9px; border: 1px solid var(--line-2); background: var(--surface); '
    f"color: var(--ink); font: 12.5px/1.45 {FONT}; white-space: pre-line; max-width: 22rem; "
    'overflow-wrap: anywhere">@detail</div>'
)
"""Covers the frame of Bokeh's own tooltip, whose colors do not follow the theme."""

_MOST_TOLD: Final = 3
"""Points on one another that a tooltip tells of."""

WHEEL_HINT: Final = "Drag to pan, Ctrl and the wheel to zoom; with the keyboard, arrows, + and -, and 0 for all of it."


def new_figure(x_label: str, y_label: str, *, height: int, **options: Any) -> Any:
    """Return an empty figure whose width follows the page.

    Args:
        x_label: Label of the horizontal axis, with its unit.
        y_label: Label of the vertical axis, with its unit.
        height: Height in pixels.
        **options: Further options of Bokeh's ``figure``.
    """
    from bokeh.models import BoxZoomTool, LinearAxis, NumeralTickFormatter, PanTool, ResetTool, WheelZoomTool
    from bokeh.plotting import figure

    wheel = WheelZoomTool(modifiers="ctrl")
    plot = figure(
        height=height, sizing_mode="stretch_width", x_axis_label=chart_text(x_label), y_axis_label=chart_text(y_label),
        tools=[PanTool(), wheel, BoxZoomTool(), ResetTool()],
        toolbar_location="above", min_border_right=12, **options,
    )  # fmt: skip
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.toolbar.active_scroll = wheel
    plot.outline_line_color = None
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.axis_label_text_font = axis.major_label_text_font = FONT
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "12px"
        axis.axis_label_text_font_style = "normal"
        axis.minor_tick_line_color = None
        axis.major_tick_in, axis.major_tick_out = 0, 4
        axis.axis_label_standoff = 8
        if isinstance(axis, LinearAxis):
            axis.formatter = NumeralTickFormatter(format="0,0.[0000]")  # type: ignore[assignment]
    plot.xgrid.grid_line_color = None
    return plot


def add_hover(plot: Any, points: Sequence[Any], size: float = 14) -> None:
    """Show the column ``detail`` of points where the pointer is; each line of it is a line of the tooltip.

    One invisible layer holds all points, the last first, so that those that lie on each other share one tooltip. Bokeh
    escapes the text; the template around it has fixed words only.

    Args:
        plot: The figure.
        points: What :func:`add_points` returned.
        size: Diameter in pixels of where a point is found.
    """
    from bokeh.models import HoverTool

    columns = [one.data_source.data for one in points]
    data = {name: [value for each in reversed(columns) for value in each[name]] for name in ("x", "y", "detail")}
    layer = plot.scatter("x", "y", source=data, size=size, alpha=0)
    plot.add_tools(
        HoverTool(renderers=[layer], tooltips=_TOOLTIP, attachment="horizontal", show_arrow=False, limit=_MOST_TOLD)
    )


def add_points(
    plot: Any, data: Mapping[str, Any], *, marker: str, color: str, size: float = 9, hollow: bool = False
) -> Any:
    """Add points, and a whisker where the data have the columns ``low`` and ``high``.

    Args:
        plot: The figure.
        data: Columns ``x``, ``y`` and ``detail``.
        marker: Bokeh's name of the marker.
        color: Name of its color.
        size: Diameter in pixels.
        hollow: Whether only its outline is drawn.
    """
    from bokeh.models import ColumnDataSource
    from bokeh.models.annotations import TeeHead, Whisker

    source = ColumnDataSource({name: list(values) for name, values in data.items()})
    if "low" in data:
        heads = [TeeHead(size=5) for _ in range(2)]
        for head in heads:
            themed(head, line_color=color)
        whisker = Whisker(
            base="x", lower="low", upper="high", source=source, line_width=1, lower_head=heads[0], upper_head=heads[1]
        )
        themed(whisker, line_color=color)
        plot.add_layout(whisker)
    points = plot.scatter("x", "y", source=source, marker=marker, size=size, line_width=1.5)
    themed(points.glyph, fill_color="surface" if hollow else color, line_color=color)
    points.nonselection_glyph = points.selection_glyph = None
    return points
