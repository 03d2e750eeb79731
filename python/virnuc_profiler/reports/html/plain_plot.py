# SPDX-License-Identifier: MIT
"""The plots of a run's page: as wide as the page, without a toolbar, minor ticks, or powers of ten."""

from __future__ import annotations

from typing import Any

from virnuc_profiler.reports.html.chart_frame import FONT


def plain_plot(title: str = "", **options: Any) -> Any:
    """Return a Bokeh plot.

    Args:
        title: Its title, in small letters; empty for none.
        **options: Further options of Bokeh's ``figure``.
    """
    from bokeh.models import BasicTickFormatter
    from bokeh.plotting import figure

    plot: Any = figure(title=title or None, toolbar_location=None, sizing_mode="stretch_width", **options)
    if title:
        plot.title.text_font_size, plot.title.text_font_style, plot.title.standoff = "12px", "normal", 2
        plot.title.text_font = FONT
    plot.axis.minor_tick_line_color = None
    plot.grid.minor_grid_line_color = None
    plot.yaxis.major_label_text_font_size = "11px"
    for axis in plot.axis:
        axis.formatter = BasicTickFormatter(use_scientific=False)
        axis.major_label_text_font = axis.axis_label_text_font = FONT
        axis.axis_label_text_font_size, axis.axis_label_text_font_style = "12px", "normal"
    return plot


def label_lanes(plot: Any, labels: dict[float, str]) -> None:
    """Name heights of a plot instead of numbering them.

    Args:
        plot: The plot.
        labels: Name by height, which a chart may draw as it stands.
    """
    from bokeh.models import FixedTicker

    plot.ygrid.visible = False
    plot.yaxis.ticker = FixedTicker(ticks=sorted(labels))
    plot.yaxis.major_label_overrides = dict(labels)
    plot.yaxis.major_tick_line_color = None
