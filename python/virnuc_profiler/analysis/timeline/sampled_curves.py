# SPDX-License-Identifier: MIT
"""Readings of the GPU as curves: each value with the time for which it stands, and the times of lowered clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from virnuc_profiler.analysis.gpu.coverage import LATE_INTERVALS, averaged_reach_ns, sampling_interval_ns
from virnuc_profiler.analysis.gpu.throttling import HARD, REASONS, SLOWING, ThrottleTimeline
from virnuc_profiler.analysis.timeline.time_buckets import Values
from virnuc_profiler.analysis.timing.intervals import Interval, clip
from virnuc_profiler.telemetry.records import GpuSamples
from virnuc_profiler.telemetry.stage_columns import Column

_DEFAULT_INTERVAL_NS: Final = 100_000_000


class Quantity(NamedTuple):
    """What is read from a GPU.

    Attributes:
        key: Name in a reading, such as ``sm_activity``.
        label: What a reader sees, without the unit.
        short: The same in a word, for a legend.
        panel: Quantities with the same panel have the same unit, and share an axis.
        unit: Unit of the values.
        factor: Factor from the reading to the unit.
    """

    key: str
    label: str
    short: str
    panel: str
    unit: str
    factor: float = 1.0


_ACTIVITIES: Final = (
    Quantity("sm_activity", "SM activity", "SM", "activity", "%", 100.0),
    Quantity("tensor_activity", "tensor core activity", "tensor", "activity", "%", 100.0),
    Quantity("dram_activity", "DRAM activity", "DRAM", "activity", "%", 100.0),
)
_AVERAGES: Final = (
    Quantity("utilization_percent", "time with a kernel (NVML)", "kernel", "activity", "%"),
    Quantity("power_mw", "power", "power", "power", "W", 1e-3),
)
_MOMENTS: Final = (
    Quantity("sm_clock_mhz", "SM clock", "SM", "clock", "MHz"),
    Quantity("memory_clock_mhz", "memory clock", "memory", "clock", "MHz"),
    Quantity("used_memory_bytes", "memory in use", "memory", "memory", "GB", 1e-9),
    Quantity("temperature_c", "temperature", "temperature", "temperature", "°C"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One quantity over time. Columns have the shape (readings,).

    Attributes:
        quantity: What was read.
        start_ns: Start of the time for which each value stands, on the host's clock.
        end_ns: End of that time; at or before the next start.
        values: Values in the quantity's unit.
    """

    quantity: Quantity
    start_ns: Column
    end_ns: Column
    values: Values


@dataclass(frozen=True, slots=True)
class Throttling:
    """Times in which one reason lowered the clocks.

    Attributes:
        reason: NVML's name of the reason.
        hard: Whether the reason is a problem with heat or power supply; a power cap is normal at full load.
        intervals: Disjoint times in order, ns on the host's clock.
    """

    reason: str
    hard: bool
    intervals: Sequence[Interval]


def gpu_curves(gpu: GpuSamples | None, span: Interval) -> list[Curve]:
    """Return the curves of a run; those without a single reading in it are left out.

    Activities and utilization stand for the time before the reading, over which they were averaged. Power does too;
    NVML averages it over up to 1 s, so that it follows late. Clocks, memory and temperature stand until the next
    reading.

    Args:
        gpu: Readings of the GPU, or None.
        span: Start and end of the run on the host's clock, ns.
    """
    if gpu is None:
        return []
    at = [each.at_ns for each in gpu.fast]
    reach_ns = averaged_reach_ns(gpu)
    before = [max(earlier, now - reach_ns) for earlier, now in zip([span[0], *at], at, strict=False)]
    interval_ns = sampling_interval_ns(gpu, "fast") or _DEFAULT_INTERVAL_NS
    after = [min(later, now + LATE_INTERVALS * interval_ns) for now, later in pairwise(at)]
    after += [now + interval_ns for now in at[-1:]]
    averaged = [(each.at_ns - each.interval_ns, each.at_ns) for each in gpu.gpm]
    curves = [
        *(_curve(quantity, averaged, gpu.gpm, span) for quantity in _ACTIVITIES),
        *(_curve(quantity, list(zip(before, at, strict=True)), gpu.fast, span) for quantity in _AVERAGES),
        *(_curve(quantity, list(zip(at, after, strict=True)), gpu.fast, span) for quantity in _MOMENTS),
    ]
    return [curve for curve in curves if len(curve.values)]


def throttling(gpu: GpuSamples | None, span: Interval) -> list[Throttling]:
    """Return the times of lowered clocks by reason; reasons that did not occur are left out.

    Args:
        gpu: Readings of the GPU, or None.
        span: Start and end of the run on the host's clock, ns.
    """
    if gpu is None:
        return []
    found = ThrottleTimeline(gpu).intervals(span)
    return [
        Throttling(name, bool(bit & HARD), clip(found[name], span))
        for bit, name in REASONS.items()
        if bit & SLOWING and found.get(name)
    ]


def _curve(quantity: Quantity, times: Sequence[Interval], readings: Sequence[object], span: Interval) -> Curve:
    known = [
        (max(start, span[0]), min(end, span[1]), value)
        for (start, end), reading in zip(times, readings, strict=True)
        if (value := getattr(reading, quantity.key)) is not None and max(start, span[0]) < min(end, span[1])
    ]
    starts = np.array([start for start, _, _ in known], np.int64)
    ends = np.array([end for _, end, _ in known], np.int64)
    values = np.array([value for _, _, value in known], np.float64) * quantity.factor
    if len(starts):  # readings that overlap, as GPM's may by a little, stand from the end of the one before
        starts[1:] = np.maximum(starts[1:], np.maximum.accumulate(ends)[:-1])
    whole = starts < ends
    return Curve(quantity, starts[whole], ends[whole], values[whole])
