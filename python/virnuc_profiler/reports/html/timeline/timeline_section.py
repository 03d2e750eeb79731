# SPDX-License-Identifier: MIT
"""The section of a page that shows a run over time: its charts, buttons and data, and the script that uses them."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from virnuc_profiler.analysis.diagnosis.bottlenecks import LABELS
from virnuc_profiler.analysis.timeline.idle_causes import IDLE_CAUSES
from virnuc_profiler.analysis.timeline.run_timeline import REST_BUCKETS, RunTimeline
from virnuc_profiler.reports.figures import counted
from virnuc_profiler.reports.html.figures_html import Figure
from virnuc_profiler.reports.html.page import Section
from virnuc_profiler.reports.html.safe_text import json_for_script, markup, visible
from virnuc_profiler.reports.html.timeline.stage_colors import CAUSE_COLORS, stage_color
from virnuc_profiler.reports.html.timeline.timeline_data import timeline_data
from virnuc_profiler.reports.html.timeline.timeline_figure import TimelineFigure, timeline_figure

ANCHOR: Final = "timeline"

_SCRIPTS: Final = ("columns.js", "run_data.js", "reduce.js", "drawing.js", "telling.js", "timeline_view.js")

_LEAST_VIEW_NS: Final = 200
"""Shortest time that fills the charts."""

_BUTTONS: Final = (
    (
        ("left", "←", "Earlier (left arrow)"),
        ("right", "→", "Later (right arrow)"),
        ("in", "+", "Zoom in (+)"),
        ("out", "-", "Zoom out (-)"),
        ("whole", "Whole run", "Show the whole run (0)"),
    ),
    (
        ("slow", "Slowest batch", "Go to the slowest batch, then to the next slowest (s)"),
        ("gap-before", "Gap before", "Go to the long gap before (N)"),
        ("gap", "Next gap", "Go to the next long gap (n)"),
    ),
)
"""Groups of buttons: what each does, its text, and its explanation."""


def timeline_section(timeline: RunTimeline) -> Section:
    """Return the section on a run over time.

    Args:
        timeline: The run over time.
    """
    charts = timeline_figure(timeline)
    if charts is None:
        nothing = "The run has no batches, and the GPU was not sampled: there is nothing to show."
        return Section(ANCHOR, "Timeline", [nothing])
    about, text = timeline_data(timeline)
    about = {**about, **_places(timeline, charts)}
    data = Markup(
        '<div id="timeline-batch" class="timeline-batch" aria-live="polite"></div>\n'
        '<script type="application/json" id="timeline-about">{}</script>\n'
        '<script type="text/plain" id="timeline-columns">{}</script>'
    ).format(json_for_script(about), text)
    drawn = Figure(
        charts.model,
        "The run from its start to its end. Each bar is a stage of a batch; where many lie in a pixel, the height of "
        "the bar is their share of its time.",
        alternative=_alternative(timeline),
        height=charts.height,
        hint="Drag to pan; Ctrl and wheel, or wheel after a click, to zoom. Keys: arrows, +, -, 0 (whole run), s "
        "(slowest batch), n and N (next and previous long gap), g (go to a batch). A click shows the exact times of a "
        "batch.",
    )
    return Section(ANCHOR, "Timeline", [_tools(), drawn, _legend(timeline), data, *_reduction(timeline)])


def _tools() -> Markup:
    """Return the buttons, the field for the number of a batch, and the line that tells what is shown."""
    button = Markup('<button type="button" data-action="{}" title="{}">{}</button>')
    groups = [
        Markup('<span class="group">{}</span>').format(
            Markup("").join(button.format(action, title, text) for action, text, title in group)
        )
        for group in _BUTTONS
    ]
    return Markup(
        '<div id="timeline-tools" class="timeline-tools" role="toolbar" aria-label="View of the timeline">{}'
        '<form id="timeline-go" class="group"><label for="timeline-index">Batch</label>'
        '<input id="timeline-index" inputmode="numeric" autocomplete="off" size="8" title="Number of a batch (g)">'
        "<button>Go</button></form></div>\n"
        '<p id="timeline-status" class="timeline-status" aria-live="polite"></p>'
    ).format(Markup("").join(groups))


@cache
def timeline_scripts() -> tuple[str, ...]:
    """Return the scripts that a page with a timeline needs, in order."""
    folder = files(__package__).joinpath("scripts")
    return tuple(folder.joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS)


@cache
def timeline_styles() -> str:
    """Return the style sheet that a page with a timeline needs."""
    return files(__package__).joinpath("scripts").joinpath("timeline.css").read_text(encoding="utf-8")


def _places(timeline: RunTimeline, charts: TimelineFigure) -> dict[str, Any]:
    index = timeline.batches.columns["index"]
    return {
        "place": ANCHOR + "-title",
        "least": min(_LEAST_VIEW_NS, max(timeline.elapsed_ns, 1)),
        "elapsed": max(timeline.elapsed_ns, 1),
        "names": [visible(name, 200) for name in timeline.batches.stages.names],
        "causes": [LABELS[cause] for cause in IDLE_CAUSES],
        "cause_colors": [CAUSE_COLORS[cause] for cause in IDLE_CAUSES],
        "colors": charts.colors,
        "charts": charts.charts,
        "flight": None if charts.flight is None else asdict(charts.flight),
        "idle": None if charts.idle is None else asdict(charts.idle),
        "most_in_flight": charts.most_in_flight,
        "indices": int(index.max()) + 1 if len(index) else 0,
        "lanes": [
            {"stage": lane.stage, "device": lane.on_device, "place": asdict(place), "color": stage_color(lane.name)}
            for lane, place in zip(timeline.lanes, charts.lanes, strict=True)
        ],
    }


def _legend(timeline: RunTimeline) -> Markup:
    """Return the colors of the causes of idle time that occur, of lowered clocks, and of stops."""
    keys = [
        (CAUSE_COLORS[name], f"idle: {LABELS[name]}")
        for number, name in enumerate(IDLE_CAUSES)
        if (timeline.idle.cause == number).any()
    ]
    keys += [
        (
            "bad" if one.hard else "warning",
            f"clocks lowered: {one.reason}" + ("" if one.hard else " (normal at full load)"),
        )
        for one in timeline.throttling
    ]
    keys += [("bad", "behind the stages: the run was stopped")] if timeline.stops else []
    items = [
        Markup('<li><span style="background: var(--{})"></span>{}</li>').format(color, markup(text))
        for color, text in keys
    ]
    return Markup('<ul class="timeline-legend">{}</ul>').format(Markup("").join(items)) if items else Markup("")


def _alternative(timeline: RunTimeline) -> str:
    """Return the timeline in words: what the run's time went to."""
    if not len(timeline.batches):
        return "The run has no batches."
    parts = [
        f"{lane.name} on the {'GPU' if lane.on_device else 'host'} {lane.covered_ns / 1e9:,.3f} s"
        for lane in timeline.lanes
    ]
    batches = counted(len(timeline.batches), "batch", "batches")
    return f"{batches} in {timeline.elapsed_ns / 1e9:,.3f} s. Time in stages: {', '.join(parts)}."


def _reduction(timeline: RunTimeline) -> list[str]:
    """Return what is not kept of a long run."""
    if timeline.exact.whole:
        return []
    kept, width_ns = int(np.count_nonzero(timeline.exact.batches)), timeline.elapsed_ns / REST_BUCKETS
    return [
        f"Of {len(timeline.batches):,} batches, the times of {kept:,} are in this page one by one: the first ones, the "
        f"slowest, and those around the longest gaps. All others are kept as sums, numbers and extremes of "
        f"{REST_BUCKETS:,} parts of {width_ns / 1e6:,.1f} ms each. The file of the run holds them all."
    ]
