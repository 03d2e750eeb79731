# SPDX-License-Identifier: MIT
"""When the clocks of the device were lowered, and why, from NVML's clock-event reasons."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from virnuc_profiler.analysis.gpu.coverage import LATE_INTERVALS, MIN_SHARE, Coverage, coverage_of, sampling_interval_ns
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
"""Names of the bits of ``nvmlClocksEventReason…`` in nvml.h. 0x8 comes with 0x40 or 0x80, or alone for an external
power brake."""

POWER_CAP: Final = 0x4
HARD: Final = 0x8 | 0x20 | 0x40 | 0x80
"""Reasons that indicate a problem with heat, power supply or cooling. Full load alone never sets them."""
SLOWING: Final = HARD | POWER_CAP | 0x10
"""All reasons that count as throttling; an idle device and clocks set by the user do not."""


class Span(NamedTuple):
    """Time that one reading represents, with its reasons and SM clock.

    Attributes:
        start_ns: Start on the host's clock.
        end_ns: End on the host's clock.
        reasons: Clock-event reasons, as bits.
        sm_clock_mhz: SM clock, or None.
    """

    start_ns: int
    end_ns: int
    reasons: int
    sm_clock_mhz: int | None


class ThrottleTimeline:
    """Clock-event reasons of a run over time, as spans in order. Nothing is known about the time between spans.

    Args:
        gpu: Readings of the GPU.
    """

    def __init__(self, gpu: GpuSamples) -> None:
        interval_ns = _sampling_interval_ns(gpu)
        readings = gpu.fast
        ends = [min(after.at_ns, before.at_ns + LATE_INTERVALS * interval_ns) for before, after in pairwise(readings)]
        ends += [readings[-1].at_ns + interval_ns] if readings else []
        self.max_sm_clock_mhz = gpu.max_sm_clock_mhz
        self.spans = [
            Span(reading.at_ns, end, reading.throttle_reasons, reading.sm_clock_mhz)
            for reading, end in zip(readings, ends, strict=True)
            if reading.throttle_reasons is not None and reading.at_ns < end  # a span without length says nothing
        ]
        self._starts = [span.start_ns for span in self.spans]

    def during(self, window: Interval) -> list[Span]:
        """Return the spans inside a window, cut at its ends.

        Args:
            window: Start and end on the host's clock, ns.
        """
        low, high = window
        found = []
        for place in range(max(bisect_right(self._starts, low) - 1, 0), len(self.spans)):
            span = self.spans[place]
            if span.start_ns >= high:
                break
            if low <= span.start_ns and span.end_ns <= high:
                found.append(span)
            elif span.end_ns > low:
                found.append(span._replace(start_ns=max(span.start_ns, low), end_ns=min(span.end_ns, high)))
        return found

    def coverage(self, window: Interval) -> Coverage:
        """Return how much of a window was sampled.

        Args:
            window: Start and end on the host's clock, ns.
        """
        spans = self.during(window)
        return coverage_of(window, [(span.start_ns, span.end_ns) for span in spans], len(spans))

    def intervals(self, window: Interval) -> dict[str, list[Interval]]:
        """Return the intervals of each slowing reason; empty lists for reasons that did not occur.

        Args:
            window: Start and end on the host's clock, ns.
        """
        spans = self.during(window)
        return {
            name: union((span.start_ns, span.end_ns) for span in spans if span.reasons & bit)
            for bit, name in REASONS.items()
            if bit & SLOWING
        }

    def reasons_of(self, batch: BatchRecord) -> list[str] | None:
        """Return the slowing reasons during a batch; None if they were not sampled then.

        A reason that was seen counts however little of the batch was sampled, but none means none only if most was.

        Args:
            batch: Batch, represented by its device intervals, or by its host interval without device times.
        """
        times = [(stage.device_start_ns, stage.device_end_ns) for stage in batch.stages]
        known = [(start, end) for start, end in times if start is not None and end is not None]
        intervals = union(known) or [(batch.host_start_ns, max(batch.host_end_ns, batch.host_start_ns + 1))]
        spans = [span for interval in intervals for span in self.during(interval)]
        if not spans:
            return None
        reasons = 0
        for span in spans:
            reasons |= span.reasons
        seen_ns = sum(span.end_ns - span.start_ns for span in spans)
        if not reasons & SLOWING and seen_ns < MIN_SHARE * length(intervals):
            return None
        return reason_names(reasons & SLOWING)


def reason_names(bits: int) -> list[str]:
    """Return the names of reasons in the order of their bits.

    Args:
        bits: Clock-event reasons, as bits.
    """
    return [name for bit, name in REASONS.items() if bits & bit]


def throttled_seconds(timeline: ThrottleTimeline, window: Interval) -> dict[str, float] | None:
    """Return the seconds under each slowing reason that occurred, in the sampled part of a window.

    The result is None if too little of the window was sampled.

    Args:
        timeline: Reasons over time.
        window: Start and end on the host's clock, ns.
    """
    if not timeline.coverage(window).sufficient:
        return None
    found = {name: length(intervals) / 1e9 for name, intervals in timeline.intervals(window).items()}
    return {name: seconds for name, seconds in found.items() if seconds}


def throttled_batches(timeline: ThrottleTimeline, batches: Iterable[BatchRecord]) -> int | None:
    """Return the number of batches during which a slowing reason occurred; None if no batch was sampled.

    Args:
        timeline: Reasons over time.
        batches: Batches of the run.
    """
    table = BatchTable.from_records(batches)
    if not timeline.spans or not len(table):
        return None
    stages = table.stages
    stages = stages[stages.on_device & (stages.device_start_ns < stages.device_end_ns)]
    on_host = np.setdiff1d(np.arange(len(table)), stages.batch)
    host_start = table.columns["host_start_ns"][on_host]
    host_end = np.maximum(table.columns["host_end_ns"][on_host], host_start + 1)
    batch = np.append(stages.batch, on_host)
    starts, ends, reasons, _ = np.array([span._replace(sm_clock_mhz=0) for span in timeline.spans]).T
    first = np.searchsorted(ends, np.append(stages.device_start_ns, host_start), side="right")
    last = np.searchsorted(starts, np.append(stages.device_end_ns, host_end), side="left")
    slowed_before = np.append(0, np.cumsum((reasons & SLOWING) != 0))  # number of slowed spans before each span
    sampled = first < last
    slowed = sampled & (slowed_before[last] > slowed_before[first])
    return len(np.unique(batch[slowed])) if sampled.any() else None


class Slowdown(NamedTuple):
    """Effect of throttling on a window.

    Attributes:
        lost_share: Estimated share of the window that lower clocks cost.
        shares: Share of the sampled time under each slowing reason that occurred.
        median_clock_mhz: Median SM clock.
        max_clock_mhz: Highest SM clock of the device; None if it is unknown.
    """

    lost_share: float
    shares: Mapping[str, float]
    median_clock_mhz: float | None
    max_clock_mhz: int | None


THROTTLED_SHARE: Final = 0.10
"""A run counts as throttled if hard reasons lowered clocks for more than this share of the sampled time. Shorter
throttling changes rates by no more than repeated runs differ."""


class HardThrottling(NamedTuple):
    """Time under heat or power-brake reasons.

    Attributes:
        share: Share of the sampled time, 0 to 1; None if too little was sampled to say.
        reasons: Share of the sampled time under each of these reasons that occurred.
        coverage: Coverage of the window.
    """

    share: float | None
    reasons: Mapping[str, float]
    coverage: Coverage

    @property
    def throttled(self) -> bool:
        """Whether the window counts as throttled."""
        return self.share is not None and self.share > THROTTLED_SHARE


def hard_throttling(timeline: ThrottleTimeline, window: Interval) -> HardThrottling | None:
    """Return the share of time under heat or power-brake reasons; None if the reasons were not sampled.

    The power cap (``sw_power_cap``) is not included, because full load alone reaches it. The share of a small part of
    the window is given only if that part alone makes the window a throttled one.

    Args:
        timeline: Reasons over time.
        window: Start and end on the host's clock, ns.
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
    share = sum(span.end_ns - span.start_ns for span in spans if span.reasons & HARD) / known_ns
    coverage = timeline.coverage(window)
    if not coverage.sufficient and share * coverage.share <= THROTTLED_SHARE:
        return HardThrottling(None, {}, coverage)
    return HardThrottling(share, {name: part for name, part in reasons.items() if part}, coverage)


MIN_DEFICIT: Final = 0.1
"""Minimum share of its time that a hard slowdown costs. Slowdowns pulse, and readings show the clock only at single
moments. Such a reason is therefore reported from a fifth of the time on, even if the sampled clocks look normal."""

FAR_DOWN: Final = 0.6
"""Share of the highest clock below which a power cap is abnormal. At full load it is normal: an H200 at 700 W runs
matrix products at 1,485 of 1,980 MHz, 75 %. Below 60 % the limit is too low, or something else draws the power."""


def slowdown(timeline: ThrottleTimeline, window: Interval) -> Slowdown | None:
    """Return the effect of throttling on a window; None if too little of it was sampled.

    Args:
        timeline: Reasons over time.
        window: Start and end on the host's clock, ns.
    """
    spans = timeline.during(window)
    known_ns = sum(span.end_ns - span.start_ns for span in spans)
    if not timeline.coverage(window).sufficient:
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
    if (interval_ns := sampling_interval_ns(gpu, "fast")) is not None:
        return interval_ns
    spacing = percentile((after - before for before, after in pairwise(_moments(gpu.fast))), 50)
    return 100_000_000 if spacing is None else int(spacing)


def _moments(readings: Sequence[GpuReading]) -> Iterable[int]:
    return (reading.at_ns for reading in readings)
