# SPDX-License-Identifier: MIT
"""What a tracer such as Nsight Systems records of a program: NVTX ranges, API calls and GPU operations.

Times are integer ns on the tracer's own axis. The rows are named tuples and no dataclasses: a capture has millions,
and these are made in a third of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, overload

from virnuc_profiler.telemetry.stage_columns import Column

DEFAULT_DOMAIN: Final = "default"
"""What NVTX's own domain is called, which has no name."""

NAMELESS_DOMAIN: Final = "domain "
"""How a domain is called whose name the capture lacks; its number follows."""

_THREAD_BITS: Final = 24


class NvtxRange(NamedTuple):
    """An annotated stretch of one host thread; `payload` is None where it has none, or none that is an integer."""

    domain: str
    name: str
    payload: int | None
    thread: int
    start_ns: int
    end_ns: int


class ApiCall(NamedTuple):
    """A call of the CUDA runtime or driver; one launch may have several rows."""

    thread: int
    correlation: int
    start_ns: int
    end_ns: int


class GpuOperation(NamedTuple):
    """Work of the GPU; `kind` is ``kernel``, ``memcpy``, ``memset`` or ``graph`` (a CUDA graph traced as a whole)."""

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
    """The process of a serialized thread id, as operations name it: the id without its lowest 24 bits."""
    return thread >> _THREAD_BITS << _THREAD_BITS


@dataclass(frozen=True, slots=True)
class GpuCapture:
    """One capture.

    Attributes:
        ranges: those that begin and end on one thread.
        calls: of the CUDA APIs that launched something, with duplicates.
        operations: of all devices.
        tracer_version: of what exported it; None if it does not say.
        utc_epoch_ns: UTC at 0 of the capture's axis; None if it is not known.
        crossing_ranges: ranges that end on another thread than they began on, which are left out.
        unended_ranges: ranges that had not ended when the capture did, which are left out.
    """

    ranges: tuple[NvtxRange, ...] = ()
    calls: tuple[ApiCall, ...] = ()
    operations: tuple[GpuOperation, ...] = ()
    tracer_version: str | None = None
    utc_epoch_ns: int | None = None
    crossing_ranges: int = 0
    unended_ranges: int = 0
