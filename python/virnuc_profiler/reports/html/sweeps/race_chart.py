# SPDX-License-Identifier: MIT
"""The confirmation of a sweep: each finalist beside the baseline, with its interval from blocks in random order."""

from __future__ import annotations

from typing import Final

from virnuc_profiler.reports.figures import limit, times
from virnuc_profiler.reports.html.chart_frame import FONT, WHEEL_HINT, add_hover, add_points, new_figure
from virnuc_profiler.reports.html.figures_html import Figure, themed
from virnuc_profiler.reports.html.safe_text import chart_text
from virnuc_profiler.reports.sweeps.sweep_columns import interval
from virnuc_profiler.sweep.plan.objective import ENERGY
from virnuc_profiler.sweep.results.document import Document
from virnuc_profiler.sweep.results.verdicts.confirmation import Confirmation
from virnuc_profiler.sweep.results.verdicts.standings import THRESHOLD
from virnuc_profiler.targets.knobs.configuration import Configuration

_ROW: Final = 46
_FRAME: Final = 96


def race_figure(document: Document) -> Figure | None:
    """Return the chart of a confirmation; None if nothing was compared with an interval.

    Args:
        document: Document of the confirmation.
    """
    found = document.confirmation
    if found is None or found.contenders is None:
        return None
    compared = {
        config: one
        for config, one in found.comparisons.items()
        if one.ratio is not None and one.low is not None and one.high is not None and one.high < float("inf")
    }
    if not compared:
        return None
    from bokeh.models.annotations import BoxAnnotation, Span

    names = [*(_name(found, config) for config in compared), _name(found, found.contenders.reference)]
    height = _FRAME + _ROW * len(names)
    base_name = "winner" if found.contenders.baseline is None else "baseline"
    what = f"Energy of the {base_name} over that of each"
    what = what if document.objective.kind == ENERGY else f"Speed over the {base_name}'s"
    plot = new_figure(what, "", height=height, y_range=[*reversed(names)])
    plot.ygrid.grid_line_color = None
    plot.yaxis.major_label_text_font = FONT
    band = BoxAnnotation(left=1 - THRESHOLD, right=1 + THRESHOLD, fill_alpha=0.5, line_color=None, level="underlay")
    themed(band, fill_color="raised")
    one_line = Span(location=1, dimension="height", line_width=1)
    themed(one_line, line_color="line-2")
    plot.add_layout(band)
    plot.add_layout(one_line)
    detail = [f"{_label(found, config)}\n{_text(found, config)}" for config in compared]
    rows = {"y": names[:-1], "detail": detail}
    bars = plot.hbar(
        y="y", left="low", right="high", height=0.16, line_color=None, fill_alpha=0.45,
        source={**rows, "low": [one.low for one in compared.values()], "high": [one.high for one in compared.values()]},
    )  # fmt: skip
    themed(bars.glyph, fill_color="series-1")
    points = add_points(
        plot, {**rows, "x": [one.ratio for one in compared.values()]}, marker="circle", color="series-1", size=10
    )
    base = {"y": names[-1:], "x": [1.0], "detail": [f"{_label(found, found.contenders.reference)}\nthe {base_name}"]}
    add_points(plot, base, marker="square", color="series-2", size=10)
    add_hover(plot, [points])
    ends = [value for one in compared.values() for value in (one.low, one.high) if value is not None]
    low, high = min(1 - 1.5 * THRESHOLD, *ends), max(1 + 1.5 * THRESHOLD, *ends)
    plot.x_range.start, plot.x_range.end = low - 0.005, high + 0.005
    sentences = [f"{_label(found, config)}: {_text(found, config)}." for config in compared]
    within = limit(100 * THRESHOLD, "%")
    return Figure(
        plot, caption=f"Each finalist beside the {base_name} in {found.blocks} blocks; gray: tied within {within}",
        alternative=" ".join(sentences), height=height, hint=WHEEL_HINT,
        legend=[("●", "series-1", "ratio and its interval"), ("■", "series-2", base_name)],
    )  # fmt: skip


def _name(found: Confirmation, configuration: Configuration) -> str:
    """Return a short name of a finalist, since a label of all knobs leaves no room for the chart."""
    contenders = found.contenders
    assert contenders is not None
    if configuration == contenders.baseline:
        return "baseline"
    place = [one for one in contenders.all if one != contenders.baseline].index(configuration) + 1
    return chart_text("winner" if configuration == contenders.winner else f"finalist {place}")


def _label(found: Confirmation, configuration: Configuration) -> str:
    return f"{_name(found, configuration)} ({configuration})"


def _text(found: Confirmation, configuration: Configuration) -> str:
    one = found.comparisons[configuration]
    return f"{times(one.ratio, beside=None)}{interval(one.low, one.high)} {one.verdict.replace('_', ' ')}"
