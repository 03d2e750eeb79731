# SPDX-License-Identifier: MIT
"""Records of a tracer such as Nsight Systems: NVTX ranges, API calls and GPU operations.

Times are integer ns on the tracer's own clock. Rows are named tuples instead of dataclasses, because a capture has
millions of them and named tuples are created three times as fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, overload

from virnuc_profiler.telemetry.stage_columns import Column

DEFAULT_DOMAIN: Final = "default"
"""Name given to NVTX's default domain, which has none."""

NAMELESS_DOMAIN: Final = "domain "
"""Prefix of the name given to a domain whose name the capture lacks; its number follows."""

_THREAD_BITS: Final = 24


class NvtxRange(NamedTuple):
    """An annotated time range of one host thread.

    Attributes:
        domain: Name of the NVTX domain.
        name: Name of the range.
        payload: Integer payload; None without one.
        thread: Serialized id of the thread.
        start_ns: Start on the tracer's clock.
        end_ns: End on the tracer's clock.
    """

    domain: str
    name: str
    payload: int | None
    thread: int
    start_ns: int
    end_ns: int


class ApiCall(NamedTuple):
    """A call of the CUDA runtime or driver. One launch may have several rows.

    Attributes:
        thread: Serialized id of the calling thread.
        correlation: Correlation id, shared with the operations that the call launched.
        start_ns: Start on the tracer's clock.
        end_ns: End on the tracer's clock.
    """

    thread: int
    correlation: int
    start_ns: int
    end_ns: int


class GpuOperation(NamedTuple):
    """One operation on the GPU.

    Attributes:
        process: Serialized id of the process.
        correlation: Correlation id, shared with the call that launched the operation.
        device: Number of the device.
        start_ns: Start on the tracer's clock.
        end_ns: End on the tracer's clock.
        kind: ``kernel``, ``memcpy``, ``memset``, or ``graph`` for a CUDA graph that was traced as a whole.
        name: Name of the kernel or operation.
    """

    process: int
    correlation: int
    device: int
    start_ns: int
    end_ns: int
    kind: str
    name: str

    @property
    def duration_ns(self) -> int:
        """Time on the device."""
        return self.end_ns - self.start_ns


@overload
def process_of(thread: int) -> int: ...
@overload
def process_of(thread: Column) -> Column: ...
def process_of(thread: int | Column) -> int | Column:
    """Return the serialized process id of a serialized thread id, which is the id without its lowest 24 bits.

    Args:
        thread: One thread id, or a column of them.
    """
    return thread >> _THREAD_BITS << _THREAD_BITS


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

    ranges: tuple[NvtxRange, ...] = ()
    calls: tuple[ApiCall, ...] = ()
    operations: tuple[GpuOperation, ...] = ()
    tracer_version: str | None = None
    utc_epoch_ns: int | None = None
    crossing_ranges: int = 0
    unended_ranges: int = 0
