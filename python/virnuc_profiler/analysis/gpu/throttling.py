# SPDX-License-Identifier: MIT
"""When the device's clocks were held down, and why, from NVML's clock-event reasons."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from virnuc_profiler.analysis.timing.intervals import Interval, length, union
from virnuc_profiler.analysis.timing.statistics import percentile
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.records import BatchRecord, GpuReading, GpuSamples

REASONS: Final[Mapping[int, str]] = {
    0x1: "gpu_idle",
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
"""nvml.h, ``nvmlClocksEventReason…``. 0x8 comes with 0x40 or 0x80, or alone for an external power brake."""

POWER_CAP: Final = 0x4
HARD: Final = 0x8 | 0x20 | 0x40 | 0x80
"""Something is wrong: heat, power supply or cooling. Full load alone never sets these."""
SLOWING: Final = HARD | POWER_CAP | 0x10
"""All that lower the clocks. An idle device and clocks that the user has set are no throttling."""

_MAX_IN_INTERVALS: Final = 2
"""A reading stands for the time until the next, but for no more than this many sampling intervals."""


class Span(NamedTuple):
    """What one reading stands for: reasons (bits) and SM clock from ``start_ns`` to ``end_ns``."""

    start_ns: int
    end_ns: int
    reasons: int
    sm_clock_mhz: int | None


class ThrottleTimeline:
    """The spans of a run's readings in order; where none lies nothing is known.

    Args:
        gpu: the readings.
    """

    def __init__(self, gpu: GpuSamples) -> None:
        interval_ns = _sampling_interval_ns(gpu)
        readings = gpu.fast
        ends = [
            min(after.at_ns, before.at_ns + _MAX_IN_INTERVALS * interval_ns) for before, after in pairwise(readings)
        ]
        ends += [readings[-1].at_ns + interval_ns] if readings else []
        self.max_sm_clock_mhz = gpu.max_sm_clock_mhz
        self.spans = [
            Span(reading.at_ns, end, reading.throttle_reasons, reading.sm_clock_mhz)
            for reading, end in zip(readings, ends, strict=True)
            if reading.throttle_reasons is not None
        ]
        self._starts = [span.start_ns for span in self.spans]

    def during(self, window: Interval) -> list[Span]:
        """The spans, or parts of them, inside a window."""
        low, high = window
        found = []
        for place in range(max(bisect_right(self._starts, low) - 1, 0), len(self.spans)):
            span = self.spans[place]
            if span.start_ns >= high:
                break
            if span.end_ns > low:
                found.append(span._replace(start_ns=max(span.start_ns, low), end_ns=min(span.end_ns, high)))
        return found

    def intervals(self, window: Interval) -> dict[str, list[Interval]]:
        """When each slowing reason held; empty lists for those that never did."""
        spans = self.during(window)
        return {
            name: union((span.start_ns, span.end_ns) for span in spans if span.reasons & bit)
            for bit, name in REASONS.items()
            if bit & SLOWING
        }

    def reasons_of(self, batch: BatchRecord) -> list[str] | None:
        """The slowing reasons under which a batch was measured; None if nobody looked.

        By its device intervals; by its host interval if it has none.
        """
        times = [(stage.device_start_ns, stage.device_end_ns) for stage in batch.stages]
        known = [(start, end) for start, end in times if start is not None and end is not None]
        intervals = union(known) or [(batch.host_start_ns, max(batch.host_end_ns, batch.host_start_ns + 1))]
        spans = [span for interval in intervals for span in self.during(interval)]
        if not spans:
            return None
        held = 0
        for span in spans:
            held |= span.reasons
        return reason_names(held & SLOWING)


def reason_names(bits: int) -> list[str]:
    """The names of the reasons in a bit mask, in the order of their bits."""
    return [name for bit, name in REASONS.items() if bits & bit]


def throttled_seconds(timeline: ThrottleTimeline, window: Interval) -> dict[str, float] | None:
    """Seconds under each slowing reason that occurred; None if the reasons were not measured."""
    if not timeline.during(window):
        return None
    found = {name: length(intervals) / 1e9 for name, intervals in timeline.intervals(window).items()}
    return {name: seconds for name, seconds in found.items() if seconds}


def throttled_batches(timeline: ThrottleTimeline, batches: Iterable[BatchRecord]) -> int | None:
    """How many batches have ``reasons_of``; None if no batch was looked at."""
    table = BatchTable.from_records(batches)
    if not timeline.spans or not len(table):
        return None
    stages = table.stages()
    stages = stages[stages.on_device & (stages.device_start_ns < stages.device_end_ns)]
    on_host = np.setdiff1d(np.arange(len(table)), stages.batch)
    host_start = table.column("host_start_ns")[on_host]
    host_end = np.maximum(table.column("host_end_ns")[on_host], host_start + 1)
    batch = np.append(stages.batch, on_host)
    starts, ends, reasons, _ = np.array([span._replace(sm_clock_mhz=0) for span in timeline.spans]).T
    first = np.searchsorted(ends, np.append(stages.device_start_ns, host_start), side="right")
    last = np.searchsorted(starts, np.append(stages.device_end_ns, host_end), side="left")
    slowed_before = np.append(0, np.cumsum((reasons & SLOWING) != 0))  # how many of the spans before each
    seen = first < last
    slowed = seen & (slowed_before[last] > slowed_before[first])
    return len(np.unique(batch[slowed])) if seen.any() else None


class Slowdown(NamedTuple):
    """What throttling meant for a window.

    Attributes:
        lost_share: share of the window that lower clocks cost, estimated.
        shares: share of the time that was looked at under each slowing reason that occurred.
        median_clock_mhz: of the SMs.
        max_clock_mhz: the fastest that the device offers; None if that is not known.
    """

    lost_share: float
    shares: Mapping[str, float]
    median_clock_mhz: float | None
    max_clock_mhz: int | None


THROTTLED_SHARE: Final = 0.10
"""A run is throttled if hard reasons held it down for more than this share of the time that was looked at. Between
that and what repeated runs differ by anyway (a few per cent) lies nothing that a comparison could rest on."""


def hard_throttle_shares(timeline: ThrottleTimeline, window: Interval) -> tuple[float, dict[str, float]] | None:
    """Share of the time under heat or power-brake reasons, in all and for each that occurred.

    The power cap (``sw_power_cap``) is none of them: full load alone reaches it.

    Returns:
        Shares of the time that was looked at, 0 to 1; None if the reasons were not measured.
    """
    spans = timeline.during(window)
    known_ns = sum(span.end_ns - span.start_ns for span in spans)
    if not known_ns:
        return None
    reasons = {
        name: length(union((span.start_ns, span.end_ns) for span in spans if span.reasons & bit)) / known_ns
        for bit, name in REASONS.items()
        if bit & HARD
    }
    blocked_ns = sum(span.end_ns - span.start_ns for span in spans if span.reasons & HARD)
    return blocked_ns / known_ns, {name: share for name, share in reasons.items() if share}


MIN_DEFICIT: Final = 0.1
"""A slowdown costs at least this share of the time it holds: readings show the clock at a moment, and slowdowns pulse.
So a reason of this kind is named once it holds for a fifth of the time, if the clock says nothing worse."""

FAR_DOWN: Final = 0.6
"""A power cap is normal at full load: an H200 at 700 W runs matrix products at 1,485 of 1,980 MHz, 75 %. Below 60 %
the limit is set too low for the card, or something else draws the power."""


def slowdown(timeline: ThrottleTimeline, window: Interval) -> Slowdown | None:
    """What throttling cost in `window`, in time as clocks go; None if the reasons were not measured."""
    spans = timeline.during(window)
    known_ns = sum(span.end_ns - span.start_ns for span in spans)
    if not known_ns:
        return None
    shares = {name: length(found) / known_ns for name, found in timeline.intervals(window).items() if found}
    median = percentile((span.sm_clock_mhz for span in spans), 50)
    free = [span.sm_clock_mhz for span in timeline.spans if span.sm_clock_mhz and not span.reasons & SLOWING]
    fastest = timeline.max_sm_clock_mhz or max(free, default=None)
    lost_ns = 0.0
    for span in spans:
        if span.reasons & HARD:
            lost_ns += (span.end_ns - span.start_ns) * max(MIN_DEFICIT, _deficit(span.sm_clock_mhz, fastest))
    far_down = median is not None and fastest is not None and median < FAR_DOWN * fastest
    if far_down and shares.get(REASONS[POWER_CAP], 0.0) >= 0.5:
        lost_ns = max(lost_ns, known_ns * _deficit(median, fastest))
    return Slowdown(lost_ns / known_ns, shares, median, timeline.max_sm_clock_mhz)


def _deficit(clock_mhz: float | None, fastest_mhz: int | None) -> float:
    return 0.0 if clock_mhz is None or not fastest_mhz else max(0.0, 1 - clock_mhz / fastest_mhz)


def _sampling_interval_ns(gpu: GpuSamples) -> int:
    for tier in gpu.tiers:
        if tier.name == "fast" and tier.interval_ms > 0:
            return int(tier.interval_ms * 1e6)
    spacing = percentile((after - before for before, after in pairwise(_moments(gpu.fast))), 50)
    return 100_000_000 if spacing is None else int(spacing)


def _moments(readings: Sequence[GpuReading]) -> Iterable[int]:
    return (reading.at_ns for reading in readings)
