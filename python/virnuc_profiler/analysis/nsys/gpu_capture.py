# SPDX-License-Identifier: MIT
"""A capture as columns: 8 bytes for a time or an id, 4 for a name, instead of 30 to 100 for an object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.nsys.gpu_records import ApiCall, GpuOperation, NvtxRange
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED, Column

Codes = NDArray[np.int32]
"""Positions in a list of names."""

KINDS: Final = ("kernel", "memcpy", "memset", "graph")
"""Kinds of GPU operations; columns contain their positions here."""

UNKNOWN_ID: Final = -1
"""Process and correlation id of operations whose launch the capture cannot name. No call has this process."""

_ROWS_AT_ONCE: Final = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """NVTX ranges as columns of shape (ranges,).

    Attributes:
        names: Names of ranges and domains; each text occurs once.
        domain: Position of each range's domain in `names`.
        name: Position of each range's name in `names`.
        payload: Payload, or ``NOT_MEASURED`` without one.
        thread: Serialized id of the thread.
        start_ns: Start on the tracer's clock.
        end_ns: End on the tracer's clock.
    """

    names: Sequence[str]
    domain: Codes
    name: Codes
    payload: Column
    thread: Column
    start_ns: Column
    end_ns: Column

    @classmethod
    def from_records(cls, records: Iterable[NvtxRange]) -> Ranges:
        """Convert records, keeping their order.

        Args:
            records: Ranges.
        """
        rows, names = list(records), dict[str, int]()
        domain = codes_of((row.domain for row in rows), names)
        name = codes_of((row.name for row in rows), names)
        payload = integers(NOT_MEASURED if row.payload is None else row.payload for row in rows)
        thread = integers(row.thread for row in rows)
        start_ns, end_ns = integers(row.start_ns for row in rows), integers(row.end_ns for row in rows)
        return cls(tuple(names), domain, name, payload, thread, start_ns, end_ns)

    def __len__(self) -> int:
        return len(self.start_ns)

    def __getitem__(self, at: int) -> NvtxRange:
        payload = int(self.payload[at])
        return NvtxRange(
            self.names[self.domain[at]],
            self.names[self.name[at]],
            None if payload == NOT_MEASURED else payload,
            int(self.thread[at]),
            int(self.start_ns[at]),
            int(self.end_ns[at]),
        )

    def __iter__(self) -> Iterator[NvtxRange]:
        return map(self.__getitem__, range(len(self)))

    def take(self, chosen: NDArray[Any]) -> Ranges:
        """Return the ranges selected by a mask or by positions.

        Args:
            chosen: Mask, or positions.
        """
        columns = (self.domain, self.name, self.payload, self.thread, self.start_ns, self.end_ns)
        return Ranges(self.names, *(column[chosen] for column in columns))


@dataclass(frozen=True, slots=True, eq=False)
class Calls:
    """CUDA API calls as columns of shape (calls,). One launch may have several rows.

    Attributes:
        thread: Serialized id of the calling thread.
        correlation: Correlation id.
        start_ns: Start on the tracer's clock.
        end_ns: End on the tracer's clock.
    """

    thread: Column
    correlation: Column
    start_ns: Column
    end_ns: Column

    @classmethod
    def from_records(cls, records: Iterable[ApiCall]) -> Calls:
        """Convert records, keeping their order.

        Args:
            records: Calls.
        """
        rows = list(records)
        return cls(*(integers(row[at] for row in rows) for at in range(4)))

    def __len__(self) -> int:
        return len(self.start_ns)

    def __iter__(self) -> Iterator[ApiCall]:
        return map(
            ApiCall, *(map(int, column) for column in (self.thread, self.correlation, self.start_ns, self.end_ns))
        )


@dataclass(frozen=True, slots=True, eq=False)
class Operations:
    """GPU operations as columns of shape (operations,).

    Attributes:
        names: Names of operations; each text occurs once.
        process: Serialized id of the process.
        correlation: Correlation id.
        device: Number of the device.
        start_ns: Start on the tracer's clock.
        end_ns: End on the tracer's clock.
        kind: Position of each operation's kind in `KINDS`.
        name: Position of each operation's name in `names`.
    """

    names: Sequence[str]
    process: Column
    correlation: Column
    device: Column
    start_ns: Column
    end_ns: Column
    kind: Codes
    name: Codes

    @classmethod
    def from_records(cls, records: Iterable[GpuOperation]) -> Operations:
        """Convert records, keeping their order. Their rows are renumbered.

        Args:
            records: Operations.
        """
        rows, names = list(records), dict[str, int]()
        name = codes_of((row.name for row in rows), names)
        return cls(
            tuple(names),
            integers(row.process for row in rows),
            integers(row.correlation for row in rows),
            integers(row.device for row in rows),
            integers(row.start_ns for row in rows),
            integers(row.end_ns for row in rows),
            np.fromiter((KINDS.index(row.kind) for row in rows), np.int32, len(rows)),
            name,
        )

    def __len__(self) -> int:
        return len(self.start_ns)

    def __iter__(self) -> Iterator[GpuOperation]:
        for first in range(0, len(self), _ROWS_AT_ONCE):
            yield from self.records(np.arange(first, min(first + _ROWS_AT_ONCE, len(self))))

    @property
    def duration_ns(self) -> Column:
        """Time on the device."""
        durations: Column = self.end_ns - self.start_ns
        return durations

    @property
    def on_kernels(self) -> NDArray[np.bool_]:
        """Mask of the kernels, and of the graphs that were traced as a whole."""
        found: NDArray[np.bool_] = (self.kind == KINDS.index("kernel")) | (self.kind == KINDS.index("graph"))
        return found

    def records(self, rows: Column) -> list[GpuOperation]:
        """Return some operations as records.

        Args:
            rows: Positions of the operations.
        """
        columns = (self.process, self.correlation, self.device, self.start_ns, self.end_ns)
        kinds = (KINDS[kind] for kind in self.kind[rows].tolist())
        names = (self.names[name] for name in self.name[rows].tolist())
        return list(map(GpuOperation, *(column[rows].tolist() for column in columns), kinds, names, rows.tolist()))

    def take(self, chosen: NDArray[Any]) -> Operations:
        """Return the operations selected by a mask or by positions.

        Args:
            chosen: Mask, or positions.
        """
        columns = (self.process, self.correlation, self.device, self.start_ns, self.end_ns, self.kind, self.name)
        return Operations(self.names, *(column[chosen] for column in columns))


@dataclass(frozen=True, slots=True)
class GpuCapture:
    """One capture.

    Attributes:
        ranges: Ranges that begin and end on the same thread.
        calls: CUDA API calls that launched operations, possibly with duplicates.
        operations: Operations of all devices.
        tracer_version: Version of the tracer; None if the capture lacks it.
        utc_epoch_ns: UTC time at 0 of the tracer's clock; None if it is unknown.
        crossing_ranges: Number of ranges that were left out because they end on another thread.
        unended_ranges: Number of ranges that were left out because they had not ended when the capture did.
    """

    ranges: Ranges = field(default_factory=lambda: Ranges.from_records(()))
    calls: Calls = field(default_factory=lambda: Calls.from_records(()))
    operations: Operations = field(default_factory=lambda: Operations.from_records(()))
    tracer_version: str | None = None
    utc_epoch_ns: int | None = None
    crossing_ranges: int = 0
    unended_ranges: int = 0


def integers(values: Iterable[int]) -> Column:
    """Return integers as a column.

    Args:
        values: Integers of 64 bits.
    """
    return np.fromiter(values, np.int64)


def codes_of(texts: Iterable[str], names: dict[str, int]) -> Codes:
    """Return the positions of texts in a list of names, and append the new ones.

    Args:
        texts: Texts.
        names: Names with their positions.
    """
    return np.fromiter((names.setdefault(text, len(names)) for text in texts), np.int32)
