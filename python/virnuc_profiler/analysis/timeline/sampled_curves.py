# SPDX-License-Identifier: MIT
"""Readings of the GPU as curves: each value with the time for which it stands, and the times of lowered clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from virnuc_profiler.analysis.gpu.coverage import LATE_INTERVALS, averaged_reach_ns, sampling_interval_ns
from virnuc_profiler.analysis.gpu.throttling import HARD, REASONS, SLOWING, ThrottleTimeline
from virnuc_profiler.analysis.timeline.time_buckets import Values
from virnuc_profiler.analysis.timing.intervals import Interval, clip
from virnuc_profiler.telemetry.records import GpuSamples
from virnuc_profiler.telemetry.stage_columns import Column

Panel = Literal["activity", "power", "clock", "memory", "temperature"]

_DEFAULT_INTERVAL_NS: Final = 100_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One quantity over time. Columns have the shape (readings,).

    Attributes:
        key: Name of the quantity, such as ``sm_activity``.
        label: What a reader sees, without the unit.
        panel: Curves with the same panel have the same unit, and share an axis.
        unit: Unit of the values.
        start_ns: Start of the time for which each value stands, on the host's clock.
        end_ns: End of that time; at or before the next start.
        values: Values in the unit.
    """

    key: str
    label: str
    panel: Panel
    unit: str
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


_ACTIVITIES: Final = (("sm_activity", "SM"), ("tensor_activity", "tensor cores"), ("dram_activity", "DRAM"))
_MOMENTS: Final[Sequence[tuple[str, str, Panel, str, float]]] = (
    ("sm_clock_mhz", "SM clock", "clock", "MHz", 1.0),
    ("memory_clock_mhz", "memory clock", "clock", "MHz", 1.0),
    ("used_memory_bytes", "memory in use", "memory", "GB", 1e-9),
    ("temperature_c", "temperature", "temperature", "°C", 1.0),
)


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
    curves = [
        _curve(key, label, "activity", "%", 100.0, [
            (each.at_ns - each.interval_ns, each.at_ns, getattr(each, key)) for each in gpu.gpm
        ], span)
        for key, label in _ACTIVITIES
    ]  # fmt: skip
    reach_ns = averaged_reach_ns(gpu)
    at = [each.at_ns for each in gpu.fast]
    before = [max(earlier, now - reach_ns) for earlier, now in zip([span[0], *at[:-1]], at, strict=True)]
    for key, label, panel, unit, factor in (
        ("utilization_percent", "a kernel runs", "activity", "%", 1.0),
        ("power_mw", "power", "power", "W", 1e-3),
    ):
        readings = [
            (start, each.at_ns, getattr(each, key)) for start, each in zip(before, gpu.fast, strict=True)
        ]
        curves.append(_curve(key, label, panel, unit, factor, readings, span))  # type: ignore[arg-type]
    interval_ns = sampling_interval_ns(gpu, "fast") or _DEFAULT_INTERVAL_NS
    after = [min(later, now + LATE_INTERVALS * interval_ns) for now, later in zip(at[:-1], at[1:], strict=True)]
    after += [now + interval_ns for now in at[-1:]]
    for key, label, panel, unit, factor in _MOMENTS:
        readings = [(each.at_ns, end, getattr(each, key)) for each, end in zip(gpu.fast, after, strict=True)]
        curves.append(_curve(key, label, panel, unit, factor, readings, span))
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


def _curve(
    key: str,
    label: str,
    panel: Panel,
    unit: str,
    factor: float,
    readings: Sequence[tuple[int, int, float | None]],
    span: Interval,
) -> Curve:
    known = [
        (max(start, span[0]), min(end, span[1]), value)
        for start, end, value in readings
        if value is not None and max(start, span[0]) < min(end, span[1])
    ]
    starts = np.array([start for start, _, _ in known], np.int64)
    ends = np.array([end for _, end, _ in known], np.int64)
    values = np.array([value for _, _, value in known], np.float64) * factor
    if len(starts):  # readings that overlap, as GPM's may by a little, stand from the end of the one before
        starts[1:] = np.maximum(starts[1:], np.maximum.accumulate(ends)[:-1])
    whole = starts < ends
    return Curve(key, label, panel, unit, starts[whole], ends[whole], values[whole])
