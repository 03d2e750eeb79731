# SPDX-License-Identifier: MIT
"""What a trace shows: processes with tracks of slices and of counters, as columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.telemetry.stage_columns import Column

MAX_LANES: Final = 64
"""Most slices that one track shows at the same time; a loop has some ten batches in flight."""


@dataclass(frozen=True, eq=False)
class Slices:
    """Slices of one track. Columns have the shape (slices,).

    Attributes:
        start_ns: Starts, ns.
        end_ns: Ends, ns.
        names: Names that occur.
        name: Number of each slice's name.
        arguments: Whole numbers from 0 on that a viewer shows with each slice, by their label.
        flow: Number that the slices at both ends of an arrow share, and no others; None without arrows.
    """

    start_ns: Column
    end_ns: Column
    names: Sequence[str]
    name: Column
    arguments: Mapping[str, Column] = field(default_factory=dict)
    flow: Column | None = None

    def __len__(self) -> int:
        return len(self.start_ns)

    def __getitem__(self, chosen: NDArray[np.bool_] | Column | slice) -> Slices:
        """Return the slices selected by a mask, by positions or by a range."""
        return Slices(
            self.start_ns[chosen],
            self.end_ns[chosen],
            self.names,
            self.name[chosen],
            {label: values[chosen] for label, values in self.arguments.items()},
            None if self.flow is None else self.flow[chosen],
        )


@dataclass(frozen=True, eq=False)
class SliceTrack:
    """A track of slices.

    Attributes:
        name: Name of the track.
        slices: Its slices, in any order.
        facts: Text that a viewer shows with each slice, by its label.
        thread: Whether the track is a thread of the process.
    """

    name: str
    slices: Slices
    facts: Mapping[str, str] = field(default_factory=dict)
    thread: bool = False


@dataclass(frozen=True, eq=False)
class CounterTrack:
    """A track of values over time. Columns have the shape (values,).

    Attributes:
        name: Name of the track.
        unit: Unit of the values.
        at_ns: Times from which on each value stands, ns.
        values: The values.
    """

    name: str
    unit: str
    at_ns: Column
    values: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TraceProcess:
    """All that a trace shows of one run.

    Attributes:
        name: Name of the process.
        tracks: Tracks in the order in which a viewer shows them, made one by one, since all of a long run's together
            would fill the memory. Some have no slices.
        earliest_ns: A time before which none of the tracks begins.
        label: A few words beside the name, such as the device.
    """

    name: str
    tracks: Iterable[SliceTrack | CounterTrack]
    earliest_ns: int
    label: str = ""


def lanes(slices: Slices) -> list[Slices]:
    """Divide slices into lanes in which no two overlap, so that a viewer can show each lane as one row.

    Slices of a lane are in order of time. Of more than ``MAX_LANES`` slices at the same time the rest is left out.

    Args:
        slices: Slices in any order.
    """
    found: list[Slices] = []
    rest = slices[np.lexsort((slices.end_ns, slices.start_ns))]
    while len(rest) and len(found) < MAX_LANES:
        starts, ends = rest.start_ns, np.maximum(rest.end_ns, rest.start_ns)
        if np.all(starts[1:] >= ends[:-1]):
            found.append(rest)
            break
        following = np.maximum(np.searchsorted(starts, ends), np.arange(1, len(rest) + 1)).tolist()
        chosen = []
        place = 0
        while place < len(following):
            chosen.append(place)
            place = following[place]
        mask = np.zeros(len(rest), np.bool_)
        mask[chosen] = True
        found.append(rest[mask])
        rest = rest[~mask]
    return found
