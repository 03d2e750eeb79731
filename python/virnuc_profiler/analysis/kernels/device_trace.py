# SPDX-License-Identifier: MIT
"""Device operations and the calls that launched them, read from a trace in Chrome's format as PyTorch exports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from virnuc_profiler.telemetry.stage_columns import Column, Mask

OPERATION_CATEGORIES: Final = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
CALL_CATEGORIES: Final = frozenset({"cuda_runtime", "cuda_driver"})
NO_CORRELATION: Final = 0
"""CUPTI's correlation ids begin at 1."""


@dataclass(frozen=True, slots=True, eq=False)
class TraceRows:
    """Rows of one kind. All columns have the shape (rows,); times are those of the trace's own clock.

    Attributes:
        names: Names that occur, by number.
        name: Number of each row's name.
        start_ns: Start.
        end_ns: End.
        correlation: Correlation id, shared by a call and the operations that it launched. All operations of a launched
            CUDA graph have that of the launch.
        device: CUDA ordinal of the device of an operation; -1 for calls.
    """

    names: tuple[str, ...]
    name: Column
    start_ns: Column
    end_ns: Column
    correlation: Column
    device: Column

    def __len__(self) -> int:
        return len(self.start_ns)

    def take(self, chosen: Mask | Column) -> TraceRows:
        """Return some rows.

        Args:
            chosen: Mask or positions of the rows.
        """
        columns = (self.name, self.start_ns, self.end_ns, self.correlation, self.device)
        return TraceRows(self.names, *(column[chosen] for column in columns))

    def called(self, name: str) -> TraceRows:
        """Return the rows with a name.

        Args:
            name: Name of the kernel, copy or call.
        """
        number = self.names.index(name) if name in self.names else -1
        return self.take(self.name == number)


@dataclass(frozen=True, slots=True, eq=False)
class DeviceTrace:
    """What CUPTI recorded.

    Attributes:
        operations: Kernels, copies and memsets.
        calls: Calls of the CUDA runtime and driver. The tracer leaves some out, among them the driver's copies, so an
            operation may have no call.
    """

    operations: TraceRows
    calls: TraceRows

    def on_device(self, ordinal: int) -> DeviceTrace:
        """Return the trace without the operations of other devices. Those that name no device are kept.

        Args:
            ordinal: CUDA ordinal of the device.
        """
        chosen = (self.operations.device == ordinal) | (self.operations.device < 0)
        return DeviceTrace(self.operations.take(chosen), self.calls)


def read_device_trace(document: Mapping[str, Any]) -> DeviceTrace:
    """Read the device's part of a trace that ``torch.profiler.profile.export_chrome_trace`` wrote.

    Events of other kinds, and such without a time, are left out.

    Args:
        document: JSON values of the trace.
    """
    base_ns = document.get("baseTimeNanoseconds")
    base_ns = base_ns if isinstance(base_ns, int) else 0
    events = document.get("traceEvents")
    rows: Sequence[Any] = events if isinstance(events, list) else ()
    complete = [event for event in rows if isinstance(event, dict) and event.get("ph") == "X" and _timed(event)]
    return DeviceTrace(
        _rows([event for event in complete if event.get("cat") in OPERATION_CATEGORIES], base_ns),
        _rows([event for event in complete if event.get("cat") in CALL_CATEGORIES], base_ns),
    )


def _timed(event: Mapping[str, Any]) -> bool:
    return isinstance(event.get("ts"), int | float) and isinstance(event.get("dur", 0), int | float)


def _rows(events: Sequence[Mapping[str, Any]], base_ns: int) -> TraceRows:
    numbers: dict[str, int] = {}
    name = [numbers.setdefault(str(event.get("name")), len(numbers)) for event in events]
    start_ns = _nanoseconds([event["ts"] for event in events]) + base_ns
    duration_ns = np.maximum(_nanoseconds([event.get("dur", 0) for event in events]), 0)
    return TraceRows(
        tuple(numbers),
        np.array(name, np.int64),
        start_ns,
        start_ns + duration_ns,
        np.array([_argument(event, "correlation", NO_CORRELATION) for event in events], np.int64),
        np.array([_argument(event, "device", -1) for event in events], np.int64),
    )


def _nanoseconds(microseconds: Sequence[float]) -> Column:
    return np.rint(np.array(microseconds, np.float64) * 1000).astype(np.int64)


def _argument(event: Mapping[str, Any], key: str, default: int) -> int:
    arguments = event.get("args")
    value = arguments.get(key) if isinstance(arguments, dict) else None
    return value if isinstance(value, int) else default
