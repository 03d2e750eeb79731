# SPDX-License-Identifier: MIT
"""Measure what profiling costs on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

from virnuc_profiler import _core
from virnuc_profiler.capture.target import Target, current_stream
from virnuc_profiler.errors import LibraryUnavailable

_BURST: Final = 500
_ROUNDS: Final = 21
_SAMPLING_S: Final = 2.0
CALLS_PER_BATCH: Final = 8
"""Profiler calls of one batch of the runner: it begins and ends, with six marks in between."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """Costs of profiling. Each host time is a median over many bursts and includes the call from Python into the core.

    Attributes:
        device: Name of the measured device; ``cpu`` without a GPU.
        mark_ns: Host time to end one stage and start the next, with NVTX and a device event if there is a device.
        mark_without_nvtx_ns: Host time of a mark without an NVTX range.
        mark_without_device_ns: Host time of a mark without a device event.
        scope_ns: Host time to enter and leave a stage as a context manager.
        batch_ns: Host time to begin and end a batch.
        sampling_cpu: Share of one core that the NVML threads use at default rates. None if they were not measured.
        sampling_reason: Reason why the NVML threads were not measured. Empty if they were.
    """

    device: str
    mark_ns: float
    mark_without_nvtx_ns: float
    mark_without_device_ns: float
    scope_ns: float
    batch_ns: float
    sampling_cpu: float | None
    sampling_reason: str

    @property
    def host_ns_per_batch(self) -> float:
        """Host time that profiling adds to a batch of the runner."""
        return self.batch_ns + CALLS_PER_BATCH * self.mark_ns


def measure_overhead(target: Target) -> Overhead:
    """Measure the costs on an otherwise idle device; takes about three seconds.

    Args:
        target: Device to measure, or the CPU.

    Raises:
        CudaError: The device cannot be used.
    """
    ordinal = target.ordinal
    full = _timeline(ordinal, nvtx=True)
    per_call = _in_turn(
        {
            "mark_ns": (_mark, full),
            "mark_without_nvtx_ns": (_mark, _timeline(ordinal, nvtx=False)),
            "mark_without_device_ns": (_mark, _timeline(None, nvtx=True)),
            "scope_ns": (_enter_and_leave, full),
            "batch_ns": (_begin_and_end, full),
        }
    )
    sampling_cpu, sampling_reason = _sampling_cpu(target)
    return Overhead(device=target.name, sampling_cpu=sampling_cpu, sampling_reason=sampling_reason, **per_call)


def _timeline(ordinal: int | None, *, nvtx: bool) -> _core.Timeline:
    stages = ["first", "second"]
    stream = 0 if ordinal is None else current_stream(ordinal)
    return _core.Timeline(stages, stages, device=ordinal, stream=stream, nvtx=nvtx)


def _in_turn(bursts: Mapping[str, tuple[Callable[[_core.Timeline], int], _core.Timeline]]) -> dict[str, float]:
    """Return the median nanoseconds per call of each burst, by name.

    The bursts take turns, so that all run under the same conditions. Pauses between them imitate a loop over batches,
    and the first round is a warm-up.
    """
    figures: dict[str, list[float]] = {name: [] for name in bursts}
    for number in range(1 + _ROUNDS):
        for name, (burst, timeline) in bursts.items():
            time.sleep(0.005)
            elapsed_ns = burst(timeline)
            if number:
                figures[name].append(elapsed_ns / _BURST)
    return {name: median(values) for name, values in figures.items()}


def _mark(timeline: _core.Timeline) -> int:
    with timeline.begin_batch(0) as batch:
        began = time.perf_counter_ns()
        for _ in range(_BURST // 2):
            batch.mark("first")
            batch.mark("second")
        return time.perf_counter_ns() - began


def _enter_and_leave(timeline: _core.Timeline) -> int:
    with timeline.begin_batch(0) as batch:
        began = time.perf_counter_ns()
        for _ in range(_BURST):
            with batch.stage("first"):
                pass
        return time.perf_counter_ns() - began


def _begin_and_end(timeline: _core.Timeline) -> int:
    began = time.perf_counter_ns()
    for index in range(_BURST):
        timeline.begin_batch(index).end()
    return time.perf_counter_ns() - began


def _sampling_cpu(target: Target) -> tuple[float | None, str]:
    if target.uuid is None:
        return None, target.reason or "the target is the CPU"
    try:
        sampler = _core.GpuSampler(target.uuid)
    except LibraryUnavailable as error:
        return None, str(error)
    began = time.monotonic()
    sampler.start()
    time.sleep(_SAMPLING_S)
    sampler.stop()
    elapsed_s = time.monotonic() - began
    known_ns = [tier.cpu_ns for tier in sampler.tiers() if tier.cpu_ns is not None]
    if not known_ns:
        return None, "the CPU time of the sampling threads could not be read"
    return sum(known_ns) / 1e9 / elapsed_s, ""
