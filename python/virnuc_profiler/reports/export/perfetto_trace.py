# SPDX-License-Identifier: MIT
"""Traces in Perfetto's own format, a sequence of ``TracePacket`` messages (perfetto/trace/trace_packet.proto).

It keeps ns, where the JSON of Chrome's viewer has µs in floating point, needs a third of the space, and can be written
without an object for each event. Each lane of a track is a sequence of packets of its own, so that its packets need
name neither their track nor the text of their slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from virnuc_profiler.reports.export.proto_rows import (
    Part,
    VarintColumn,
    fixed,
    integer,
    message,
    one_message,
    rows,
    text,
    varint_width,
)
from virnuc_profiler.reports.export.trace_tracks import CounterTrack, Slices, SliceTrack, TraceProcess, lanes
from virnuc_profiler.telemetry.stage_columns import Column
from virnuc_profiler.telemetry.values import printable

_MAX_TEXT: Final = 1000
_BLOCK_ROWS: Final = 1 << 16
_BOOT_TIME, _REAL_TIME = 6, 1
"""Clocks of ``ClockSnapshot``: that of the trace's timestamps, and the time of day."""

_STATE_CLEARED, _NEEDS_STATE = 1, 2
_BEGIN, _END, _COUNTER = 1, 2, 4
_EXPLICIT_ORDER: Final = 3


def perfetto_trace(processes: Sequence[TraceProcess], *, wall_offset_ns: int | None = None) -> Iterator[bytes]:
    """Yield a trace piece by piece.

    Args:
        processes: Processes in the order in which a viewer shows them. Their times are those of one clock.
        wall_offset_ns: Time of day, ns since 1970 in UTC, at 0 on that clock; None if it is unknown.
    """
    shift_ns = max(0, -min((process.earliest_ns for process in processes), default=0))  # timestamps have no sign
    if wall_offset_ns is not None and wall_offset_ns > shift_ns:
        clocks = ((_BOOT_TIME, shift_ns), (_REAL_TIME, wall_offset_ns))
        yield _packet(message(6, [part for clock, at_ns in clocks for part in _clock(clock, at_ns)]))
    writer = _Writer(shift_ns)
    for number, process in enumerate(processes, 1):
        yield from writer.process(number, process)


def _clock(clock: int, at_ns: int) -> list[Part]:
    return message(1, [*integer(1, clock), *integer(2, at_ns)])


def _packet(parts: Sequence[Part]) -> bytes:
    return one_message(message(1, parts))


def shown_text(value: str) -> str:
    """Return a text of unknown origin as a trace shows it: without characters that control what a viewer shows.

    Args:
        value: The text.
    """
    return printable(value, _MAX_TEXT)


class _Writer:
    """Writes processes, tracks and events.

    Args:
        shift_ns: Time to add to all times.
    """

    def __init__(self, shift_ns: int) -> None:
        self._shift_ns = shift_ns
        self._last_id = 0

    def process(self, number: int, process: TraceProcess) -> Iterator[bytes]:
        """Yield the tracks of a process."""
        uuid = self._new_id()
        name = shown_text(process.name)
        described = [*integer(1, number), *text(6, name)]
        if process.label:
            described += text(8, shown_text(process.label))
        yield _packet(message(60, [*integer(1, uuid), *message(3, described), *integer(11, _EXPLICIT_ORDER)]))
        for rank, track in enumerate(process.tracks):
            if isinstance(track, CounterTrack):
                yield from self._counter(uuid, rank, track)
                continue
            for lane_number, lane in enumerate(lanes(track.slices)):
                thread = track.thread and lane_number == 0
                yield from self._slices(uuid, rank, track, lane, (number, number * 1000 + rank) if thread else None)

    def _new_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _begin_track(
        self, parent: int, rank: int, name: str, extra: Sequence[Part], state: Sequence[Part]
    ) -> tuple[bytes, list[Part]]:
        """Return the packet that describes a track, and the fields that its events begin with."""
        track = self._new_id()
        # A track without a name of its own takes that of its thread.
        described = [*integer(1, track), *(text(2, name) if name else []), *integer(5, parent), *extra]
        defaults = message(59, message(11, integer(11, track)))
        head = _packet(message(60, [*described, *integer(12, rank)]))
        first = [*integer(10, track), *integer(13, _STATE_CLEARED), *defaults, *state]
        return head + _packet(first), [*integer(10, track), *integer(13, _NEEDS_STATE)]

    def _slices(
        self, parent: int, rank: int, track: SliceTrack, lane: Slices, thread: tuple[int, int] | None
    ) -> Iterator[bytes]:
        labels = [*lane.arguments, *track.facts]
        interned = [
            part for number, name in enumerate(lane.names, 1)
            for part in message(2, [*integer(1, number), *text(2, shown_text(name))])
        ]  # fmt: skip
        interned += [
            part for number, label in enumerate(labels, 1)
            for part in message(3, [*integer(1, number), *text(2, shown_text(label))])
        ]  # fmt: skip
        name, extra = shown_text(track.name), list[Part]()
        if thread is not None:
            extra = message(4, [*integer(1, thread[0]), *integer(2, thread[1]), *text(5, name)])
        head, common = self._begin_track(parent, rank, "" if thread else name, extra, message(12, interned))
        yield head
        facts = [
            part for number, value in enumerate(track.facts.values(), 1 + len(lane.arguments))
            for part in message(4, [*integer(1, number), *text(6, shown_text(value))])
        ]  # fmt: skip
        widths = [varint_width(int(values.max(initial=0))) for values in lane.arguments.values()]
        latest = max(int(lane.start_ns.max(initial=0)), int(lane.end_ns.max(initial=0)))
        time_width = varint_width(latest + self._shift_ns)
        for start in range(0, len(lane), _BLOCK_ROWS):
            part = lane[start : start + _BLOCK_ROWS]
            yield self._events(part, common, widths, time_width, facts)

    def _events(
        self, part: Slices, common: Sequence[Part], widths: Sequence[int], time_width: int, facts: Sequence[Part]
    ) -> bytes:
        count = len(part)
        opened = [
            *integer(9, _BEGIN),
            *integer(10, 1 if len(part.names) == 1 else VarintColumn(part.name + 1, varint_width(len(part.names)))),
        ]
        for number, (values, width) in enumerate(zip(part.arguments.values(), widths, strict=True), 1):
            opened += message(4, [*integer(1, number), *integer(4, VarintColumn(values, width))])
        opened += facts
        if part.flow is not None:
            opened += fixed(47, part.flow.astype(np.uint64))
        ends = np.maximum(part.end_ns, part.start_ns)
        begin = rows(count, message(1, [*self._time(part.start_ns, time_width), *common, *message(11, opened)]))
        end = rows(count, message(1, [*self._time(ends, time_width), *common, *message(11, integer(9, _END))]))
        return np.concatenate((begin, end), axis=1).tobytes()

    def _time(self, at_ns: Column, width: int) -> list[Part]:
        return integer(8, VarintColumn(at_ns + self._shift_ns, width))

    def _counter(self, parent: int, rank: int, track: CounterTrack) -> Iterator[bytes]:
        unit = message(8, text(6, track.unit))
        head, common = self._begin_track(parent, rank, shown_text(track.name), unit, [])
        yield head
        width = varint_width(int(track.at_ns.max(initial=0)) + self._shift_ns)
        for start in range(0, len(track.at_ns), _BLOCK_ROWS):
            chosen = slice(start, start + _BLOCK_ROWS)
            values = track.values[chosen].astype(np.float64)
            event = message(11, [*integer(9, _COUNTER), *fixed(44, values)])
            yield rows(len(values), message(1, [*self._time(track.at_ns[chosen], width), *common, *event])).tobytes()
