# SPDX-License-Identifier: MIT
"""Records of a tracer such as Nsight Systems: NVTX ranges, API calls and GPU operations.

Times are integer ns on the tracer's own clock. Captures keep millions of them as columns (`gpu_capture`); records are
named tuples, which are created three times as fast as dataclasses.
"""

from __future__ import annotations

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
        row: Position among the operations of the capture. It tells apart two nodes of a graph that are equal otherwise.
    """

    process: int
    correlation: int
    device: int
    start_ns: int
    end_ns: int
    kind: str
    name: str
    row: int = 0

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
