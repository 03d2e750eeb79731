# SPDX-License-Identifier: MIT
"""The part of a window in which work was noted as preparation, by name, and the rest of the window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.telemetry.parts.start_up_records import StartUpPart
from virnuc_profiler.telemetry.stage_columns import Column


@dataclass(frozen=True, slots=True, eq=False)
class NotedTime:
    """A window divided into noted work and the rest. The lengths of all parts add up to the window.

    Attributes:
        spent_ns: Time of each kind of work, ns by name. Where several kinds overlap, the one that began last counts,
            since it is part of the others.
        rest: Starts and ends of the intervals without noted work, in order of time.
    """

    spent_ns: Mapping[str, int]
    rest: tuple[Column, Column]


def noted_time(parts: Iterable[StartUpPart], window: Interval) -> NotedTime:
    """Divide a window.

    Args:
        parts: Noted work, in any order.
        window: Start and end of the window.
    """
    low, high = window
    inside = [part for part in parts if max(part.start_ns, low) < min(part.end_ns, high)]
    inside.sort(key=lambda part: part.start_ns)
    starts = np.array([max(part.start_ns, low) for part in inside], np.int64)
    ends = np.array([min(part.end_ns, high) for part in inside], np.int64)
    bounds = np.unique(np.concatenate((starts, ends, np.array([low, max(low, high)], np.int64))))
    owner = np.full(len(bounds) - 1, -1)
    for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        owner[np.searchsorted(bounds, start) : np.searchsorted(bounds, end)] = number
    lengths = np.diff(bounds)
    spent: dict[str, int] = {}
    for number in np.unique(owner[owner >= 0]).tolist():
        name = inside[number].name
        spent[name] = spent.get(name, 0) + int(lengths[owner == number].sum())
    free = owner < 0
    return NotedTime(spent, (bounds[:-1][free], bounds[1:][free]))
