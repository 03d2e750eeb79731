# SPDX-License-Identifier: MIT
"""A chart of the operators with the most GPU time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from virnuc_profiler.analysis.nsys.operator_totals import OperatorTotal, SelfTimes
from virnuc_profiler.reports.figures import counted, milliseconds
from virnuc_profiler.reports.html.figures_html import Figure, themed
from virnuc_profiler.reports.html.safe_text import chart_text, visible

_BARS: Final = 20
_BAR_HEIGHT: Final = 26
_SHORTEST: Final = 0.002
"""Bars below this share of the longest would not be seen."""

NO_RANGE_LABEL: Final = "(in no range)"


def operator_chart(shown: Sequence[OperatorTotal], times: SelfTimes) -> Figure:
    """Return bars of self time and of the rest of the total time, the first operators on top.

    Args:
        shown: Totals by operator, in order.
        times: All GPU time of the capture.
    """
    from bokeh.models import FactorRange, HoverTool, NumeralTickFormatter, Range1d
    from bokeh.plotting import figure

    longest_ns = max(total.total_ns for total in shown)
    drawn = [total for total in shown if total.total_ns >= _SHORTEST * longest_ns][:_BARS]
    without_ns = int(times.no_range.sum())
    bars = [*((total.name, total.self_ns, total.total_ns) for total in drawn), (NO_RANGE_LABEL, 0, 0)]
    labels = _different(chart_text(name, 40) for name, _, _ in bars)
    height = 110 + _BAR_HEIGHT * len(bars)
    longest_ms = max(longest_ns, without_ns) / 1e6
    plot = figure(
        height=height, sizing_mode="stretch_width", x_axis_label="GPU time (ms)", toolbar_location=None, tools="",
        x_range=Range1d(start=0, end=1.05 * longest_ms or 1.0), y_range=FactorRange(factors=labels[::-1]),
    )  # fmt: skip
    own_ms, all_ms = [own / 1e6 for _, own, _ in bars], [total / 1e6 for *_, total in bars]
    nothing = [0.0] * len(bars)
    only_last = [*nothing[1:], without_ns / 1e6]
    details = [f"self {milliseconds(own)} ms, total {milliseconds(total)} ms" for _, own, total in bars]
    names = [visible(name, 160) for name, *_ in bars]
    details[-1] = f"{milliseconds(without_ns)} ms"
    for color, legend, left, right, hatch in (
        ("series-1", "self", nothing, own_ms, " "),
        ("series-6", "in ranges inside", own_ms, all_ms, "right_diagonal_line"),
        ("series-8", "in no range", nothing, only_last, "dot"),
    ):
        source = {"label": labels, "left": left, "right": right, "name": names, "detail": details}
        bar = plot.hbar(y="label", left="left", right="right", height=0.7, source=source, legend_label=legend)
        bar.glyph.hatch_pattern = hatch  # no color is the only sign of anything
        themed(bar.glyph, fill_color=color, line_color="surface", hatch_color="surface")
    plot.add_tools(HoverTool(tooltips=[("", "@name"), ("", "@detail")]))
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0.[000]")
    plot.ygrid.grid_line_color = None
    plot.legend.orientation = "horizontal"
    plot.add_layout(plot.legend[0], "above")
    first = ", ".join(f"{total.name} {milliseconds(total.self_ns)} ms" for total in drawn[:3])
    caption = f"GPU time of the first {counted(len(drawn), 'operator')}, and of what is in no range"
    alternative = f"Self times: {first}; in no range {milliseconds(without_ns)} ms. The table below has all of them."
    return Figure(plot, caption=caption, alternative=alternative, height=height)


def _different(texts: Iterable[str]) -> list[str]:
    """Return texts with a number after those that occur again, since the labels of an axis must differ."""
    found: list[str] = []
    for text in texts:
        found.append(text if text not in found else f"{text} ({len(found) + 1})")
    return found
