# SPDX-License-Identifier: MIT
"""The data of a run's timeline, as the page's script reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from virnuc_profiler.analysis.timeline.run_timeline import Reduced, RunTimeline
from virnuc_profiler.analysis.timeline.time_buckets import Values
from virnuc_profiler.reports.html.timeline.exact_columns import exact_columns
from virnuc_profiler.reports.html.timeline.packed_columns import NamedColumn, PackedColumns, pack_columns
from virnuc_profiler.telemetry.stage_columns import Column

VALUE_UNITS = 1_000_000
"""Parts of a unit in which the values of curves are written."""

_INDEX_STEP = 64
"""In a long run the start of every n-th batch is kept, by which any other one is found."""


def timeline_data(timeline: RunTimeline) -> tuple[dict[str, Any], str]:
    """Return the description of a run's data, and the packed columns as text.

    Args:
        timeline: The run over time.
    """
    columns, references = exact_columns(timeline)
    packed = pack_columns(_all_columns(timeline, columns))
    return _description(timeline, references, packed), packed.text


def _all_columns(timeline: RunTimeline, exact: list[NamedColumn]) -> Iterator[NamedColumn]:
    yield from exact
    origin = timeline.span[0]
    for number, curve in enumerate(timeline.curves):
        yield NamedColumn(f"curve.{number}.start", curve.start_ns - origin, differences=True)
        yield NamedColumn(f"curve.{number}.length", curve.end_ns - curve.start_ns)
        yield NamedColumn(f"curve.{number}.value", np.rint(curve.values * VALUE_UNITS).astype(np.int64), True)
    if timeline.rest is not None:
        yield from _rest(timeline.rest, len(timeline.lanes))
        steps = slice(None, None, _INDEX_STEP)
        yield NamedColumn("all.index", timeline.batches.columns["index"][steps], differences=True)
        yield NamedColumn("all.start", timeline.pace.start_ns[steps] - origin, differences=True)


def _rest(rest: Reduced, lanes: int) -> Iterator[NamedColumn]:
    for lane in range(lanes):
        yield NamedColumn(f"rest.{lane}.covered", rest.covered[lane])
        yield NamedColumn(f"rest.{lane}.count", rest.counts[lane])
        yield NamedColumn(f"rest.{lane}.longest", rest.longest[lane])
    for cause, idle_ns in enumerate(rest.idle):
        yield NamedColumn(f"rest.idle.{cause}", idle_ns)
    yield NamedColumn("rest.in_flight", rest.in_flight)
    yield NamedColumn("rest.pace.count", rest.pace.counts)
    for name in ("low", "mean", "high"):
        yield NamedColumn(f"rest.pace.{name}", _whole(getattr(rest.pace, name)))


def _whole(values: Values) -> Column:
    whole: Column = np.rint(np.nan_to_num(values, nan=-1.0)).astype(np.int64)
    return whole


def _description(timeline: RunTimeline, references: dict[str, list[int]], packed: PackedColumns) -> dict[str, Any]:
    origin = timeline.span[0]
    return {
        "elapsed": timeline.elapsed_ns,
        "origin": str(origin),
        "stages": [str(number) for number in range(len(timeline.batches.stages.names))],
        "references": references,
        "lanes": [{"stage": lane.stage, "device": lane.on_device} for lane in timeline.lanes],
        "curves": [
            {"label": curve.quantity.label, "panel": curve.quantity.panel, "unit": curve.quantity.unit}
            for curve in timeline.curves
        ],
        "throttling": [
            {
                "reason": one.reason,
                "hard": one.hard,
                "times": [[start - origin, end - origin] for start, end in one.intervals],
            }
            for one in timeline.throttling
        ],
        "batches": len(timeline.batches),
        "exact": int(timeline.exact.batches.sum()),
        "whole": timeline.exact.whole,
        "rest_buckets": 0 if timeline.rest is None else len(timeline.rest.edges) - 1,
        "columns": packed.columns,
    }
