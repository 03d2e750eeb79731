# SPDX-License-Identifier: MIT
"""Packing in the page of a run: how full the batches were, and the lengths of their sequences."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from virnuc_profiler.analysis.timeline.time_buckets import Extremes, Values, bucket_edges, moment_extremes
from virnuc_profiler.reports.figures import counted, number, share
from virnuc_profiler.reports.html.figures_html import Figure, themed
from virnuc_profiler.reports.html.html_table import fact_list
from virnuc_profiler.reports.html.page import Section
from virnuc_profiler.reports.html.plain_plot import plain_plot
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.stage_columns import Column

_PARTS: Final = 400
_LEFT: Final = 64
_WELL_PACKED: Final = 0.8


def fill_of(packed: BatchTable) -> Values:
    """Return the share of its token budget that each batch fills; NaN without a budget, and for oversize batches.

    Args:
        packed: Batches with packing statistics.
    """
    tokens, budgets = packed.columns["tokens"], packed.columns["token_budget"]
    filled = np.full(len(tokens), np.nan)
    known = (budgets > 0) & (tokens <= budgets)
    filled[known] = tokens[known] / budgets[known]
    return filled


def mean_fill(batches: BatchTable) -> float | None:
    """Return the mean share of the token budget that batches fill; None if no batch has one.

    Args:
        batches: Batches of the run.
    """
    filled = fill_of(batches.packed())
    known = filled[~np.isnan(filled)]
    return float(known.mean()) if len(known) else None


def packing_section(batches: BatchTable) -> Section:
    """Return the section on packing.

    Args:
        batches: Batches of the run.
    """
    packed = batches.packed()
    if not len(packed):
        return Section("packing", "Packing", ["No batch has packing statistics: the loop did not give them."])
    columns, filled = packed.columns, fill_of(packed)
    known = filled[~np.isnan(filled)]
    sequences, tokens = int(columns["sequences"].sum()), int(columns["tokens"].sum())
    facts = [
        ("Sequences", f"{sequences:,}"),
        ("Tokens", f"{tokens:,} ({number(tokens / sequences if sequences else None, 1)} per sequence)"),
        ("Sequences per batch", _range(columns["sequences"])),
        ("Lengths", f"{int(columns['min_length'].min()):,} to {int(columns['max_length'].max()):,} tokens"),
        ("Padding that padded batches would need", f"{_padding(columns):,} tokens"),
    ]
    if len(known):
        under = int((known < _WELL_PACKED).sum())
        facts.insert(
            0, ("Fill of the token budget", f"mean {share(float(known.mean()))}, least {share(float(known.min()))}")
        )
        facts.insert(1, ("Batches under 80 %", f"{under:,} of {len(known):,}"))
    oversize = len(filled) - len(known) - int((columns["token_budget"] <= 0).sum())
    if oversize:
        facts.append(
            ("Oversize batches", f"{counted(oversize, 'batch', 'batches')} of a single sequence beyond the budget")
        )
    return Section("packing", "Packing", [fact_list(facts), _figure(packed, filled)])


def _range(values: Column) -> str:
    return f"{int(values.min()):,} to {int(values.max()):,}, median {number(float(np.median(values)), 0)}"


def _padding(columns: Any) -> int:
    return int((columns["sequences"] * columns["max_length"] - columns["tokens"]).sum())


def _figure(packed: BatchTable, filled: Values) -> Figure:
    from bokeh.models import Column as Layout
    from bokeh.models import Range1d

    columns, count = packed.columns, len(packed)
    edges = bucket_edges((0, count), _PARTS)
    places = np.arange(count, dtype=np.int64)
    x_range = Range1d(start=0, end=count, bounds=(0, count))
    known = np.flatnonzero(~np.isnan(filled))
    plots = []
    if len(known):
        found = moment_extremes(known, 100 * filled[known], edges)
        plots.append(_plot("Fill of the token budget, %", x_range, edges, found, "series-3", (0.0, 104.0)))
    shortest = moment_extremes(places, columns["min_length"], edges).low
    longest = moment_extremes(places, columns["max_length"], edges).high
    mean = columns["tokens"] / np.maximum(columns["sequences"], 1)
    means = moment_extremes(places, mean, edges)
    lengths = Extremes(means.counts, shortest, means.mean, longest)
    top = float(columns["max_length"].max()) * 1.08 + 1
    plots.append(_plot("Lengths of sequences, tokens", x_range, edges, lengths, "series-1", (0.0, top)))
    plots[-1].xaxis.axis_label = "batches in the order in which they began"
    plots[-1].height += 34
    part = "" if len(edges) - 1 == count else f" Each step stands for about {count / (len(edges) - 1):,.1f} batches."
    return Figure(
        Layout(children=plots, sizing_mode="stretch_width"),
        f"Each batch: the line is the mean, the band reaches from the least to the largest.{part}",
        alternative=f"Fill and lengths of {counted(count, 'batch', 'batches')}.",
        height=sum(plot.height for plot in plots),
    )


def _plot(title: str, x_range: Any, edges: Column, found: Extremes, color: str, y: tuple[float, float]) -> Any:
    from bokeh.models import ColumnDataSource, HoverTool, PanTool, Range1d

    plot = plain_plot(
        title, x_range=x_range, y_range=Range1d(start=y[0], end=y[1]), height=150, tools=[PanTool(dimensions="width")],
        min_border_left=_LEFT,
    )  # fmt: skip
    plot.yaxis.ticker.desired_num_ticks = 4
    known = np.flatnonzero(found.counts)
    source = ColumnDataSource(
        {
            "left": edges[:-1][known].astype(float), "right": edges[1:][known].astype(float), "low": found.low[known],
            "high": found.high[known], "mean": found.mean[known],
        }
    )  # fmt: skip
    band = plot.quad(
        left="left", right="right", bottom="low", top="high", source=source, line_color=None, fill_alpha=0.3
    )
    themed(band.glyph, fill_color=color)
    line = plot.segment(x0="left", x1="right", y0="mean", y1="mean", source=source, line_width=2)
    themed(line.glyph, line_color=color)
    tips = [
        ("batches", "@left{0,0} up to @right{0,0}"),
        ("mean", "@mean{0,0.0}"),
        ("least", "@low{0,0.0}"),
        ("largest", "@high{0,0.0}"),
    ]
    plot.add_tools(HoverTool(renderers=[band], tooltips=tips, mode="vline", point_policy="follow_mouse"))
    return plot
