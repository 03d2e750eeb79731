# SPDX-License-Identifier: MIT
"""The start-up of a run in its page: what the time until the batches reached their pace was spent on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from markupsafe import Markup

from virnuc_profiler.analysis.diagnosis.bottlenecks import (
    COLLATION,
    DATA_LOADING,
    FIRST_BATCH,
    LABELS,
    OTHER_HOST_WORK,
    WARM_UP,
)
from virnuc_profiler.analysis.diagnosis.start_up import StartUp
from virnuc_profiler.reports.figures import number, share
from virnuc_profiler.reports.html.figures_html import Figure, themed
from virnuc_profiler.reports.html.html_table import Cell, Column, Row, html_table
from virnuc_profiler.reports.html.page import Section
from virnuc_profiler.reports.html.plain_plot import plain_plot
from virnuc_profiler.reports.html.safe_text import chart_text
from virnuc_profiler.telemetry.parts.start_up_records import (
    LOADING_MODEL,
    READING,
    RECORDING_GRAPHS,
    STARTING_LOADER,
    WARMING_UP,
)
from virnuc_profiler.telemetry.rates import ratio

_COLORS: Final = {
    STARTING_LOADER: "series-7",
    READING: "series-6",
    LOADING_MODEL: "series-4",
    RECORDING_GRAPHS: "series-5",
    WARMING_UP: "series-3",
    DATA_LOADING: "series-2",
    COLLATION: "series-7",
    OTHER_HOST_WORK: "series-8",
    FIRST_BATCH: "series-1",
    WARM_UP: "series-3",
}

Part = tuple[str, str, int]
"""Row of the table: when, the name of the phase, and its duration in ns."""


def start_up_section(start_up: StartUp | None) -> Section:
    """Return the section on the start-up of a run.

    Args:
        start_up: The run until its batches reached their pace; None without batches.
    """
    if start_up is None:
        return Section("start-up", "Start-up", ["The run has no batches, so its start-up has no end."])
    parts = list(_parts(start_up))
    known = sum(duration_ns for when, _, duration_ns in parts if when == "before the run")
    if start_up.before_ns is not None and start_up.before_ns > known:
        parts.insert(0, ("before the run", "not noted", start_up.before_ns - known))
    columns: list[Column | str] = [
        "Part", "When", Column("Time, s", numeric=True, first="descending"),
        Column("Share of the run", numeric=True, first="descending"),
    ]  # fmt: skip
    rows = [_row(part, start_up.run_ns) for part in parts]
    before = "" if start_up.before_ns is None else (
        f" The process had started {number(start_up.before_ns / 1e9, 2, ' s')} before the run."
    )  # fmt: skip
    text = (
        f"The first batch was complete {number(start_up.elapsed_ns / 1e9, 3, ' s')} after the start of the run. "
        f"Starting cost {number(start_up.cost_ns / 1e9, 3, ' s')} in all, {share(start_up.share)} of the run, without "
        f"the time that the first batch takes like any other.{before}"
    )
    return Section(
        "start-up", "Start-up", [text, _figure(parts), html_table(columns, rows, caption="Parts of the start-up")]
    )


def _parts(start_up: StartUp) -> Iterator[Part]:
    for when, phases in (
        ("before the run", start_up.before),
        ("until the first batch", start_up.phases),
        ("next batches, beyond their later pace", start_up.warm_up),
    ):
        for name, duration_ns in sorted(phases.items(), key=lambda item: -item[1]):
            yield when, name, duration_ns


def _row(part: Part, run_ns: int) -> Row:
    when, name, duration_ns = part
    of_run = None if when == "before the run" else ratio(duration_ns, run_ns)
    cells: list[str | Markup | Cell] = [
        LABELS.get(name, name), when, Cell(number(duration_ns / 1e9, 4), duration_ns), Cell(share(of_run), of_run)
    ]  # fmt: skip
    return Row(cells)


def _figure(parts: list[Part]) -> Figure:
    from bokeh.models import ColumnDataSource, HoverTool, Range1d

    whole_s = sum(duration_ns for _, _, duration_ns in parts) / 1e9
    plot = plain_plot(
        height=110, x_range=Range1d(start=0, end=max(whole_s, 1e-9) * 1.01), y_range=Range1d(start=0, end=1), tools=[]
    )
    plot.yaxis.visible = False
    plot.grid.visible = False
    plot.xaxis.axis_label = "seconds spent, part by part"
    left = 0.0
    for when, name, duration_ns in parts:
        right = left + duration_ns / 1e9
        label = chart_text(f"{LABELS.get(name, name)} ({when})")
        source = ColumnDataSource({"left": [left], "right": [right], "label": [label], "seconds": [right - left]})
        bar: Any = plot.quad(left="left", right="right", bottom=0.12, top=0.88, source=source, line_width=1)
        themed(bar.glyph, fill_color=_COLORS.get(name, "series-8"), line_color="surface")
        plot.add_tools(
            HoverTool(renderers=[bar], tooltips=[("part", "@label"), ("seconds", "@seconds{0,0.0000}")],
                      point_policy="follow_mouse")
        )  # fmt: skip
        left = right
    words = ", ".join(f"{LABELS.get(name, name)} {number(ns / 1e9, 3, ' s')}" for _, name, ns in parts)
    return Figure(plot, "What starting was spent on; the table names the parts in this order.", words, height=110)
