# SPDX-License-Identifier: MIT
"""What profiling costs on this machine, found out by doing it."""

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
CALLS_OF_A_BATCH: Final = 8
"""A batch of the runner: it begins, ends, and six stages are marked or ended between."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """Costs of profiling, each the median of many bursts, the way from Python into the core included.

    Attributes:
        device: what was measured, ``cpu`` without a GPU.
        mark_ns: host time to end one stage and start the next, with all that this machine has.
        mark_without_nvtx_ns: the same without an NVTX range.
        mark_without_device_ns: without a device event.
        scope_ns: entering and leaving a stage as a context manager.
        batch_ns: beginning and ending a batch.
        sampling_cpu: share of one core that the NVML threads take at default rates; None without NVML.
        sampling_reason: why not; empty if they were measured.
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
    def host_ns_of_a_batch(self) -> float:
        """Host time that a batch of the runner costs."""
        return self.batch_ns + CALLS_OF_A_BATCH * self.mark_ns


def measure_overhead(target: Target) -> Overhead:
    """Measures on an otherwise idle device; takes about three seconds.

    Raises:
        CudaError: the device cannot be used.
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
    """Median ns per call of each burst.

    All take turns, so that none has a warmer machine, with pauses between, as a loop's batches come; the first round
    warms up.
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
        return None, target.reason or "the CPU is measured"
    try:
        sampler = _core.GpuSampler(target.uuid)
    except LibraryUnavailable as error:
        return None, str(error)
    began = time.monotonic()
    sampler.start()
    time.sleep(_SAMPLING_S)
    sampler.stop()
    cpu_ns = sum(tier.cpu_ns or 0 for tier in sampler.tiers())
    return cpu_ns / 1e9 / (time.monotonic() - began), ""
