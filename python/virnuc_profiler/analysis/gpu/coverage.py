# SPDX-License-Identifier: MIT
"""How much of a run its samples saw, and what may be said of the run then: one rule for every sampled quantity.

A quantity that was sampled stands for the run only as far as the readings reach. Two things limit that:

- **Unseen time.** Readings stop, pause, or come too rarely. Each reading stands for the time that it measured, and the
  time outside of all readings is unseen, wherever in the run it lies.
- **Blurred ends.** A reading that averages over a window mixes the ends of the run with the time beyond them. NVML
  averages utilization over 1/6 to 1 s, "depending on the product being queried" (nvmlUtilization_t), and power over 1 s
  from Ampere on, except for the GA100 (nvmlDeviceGetPowerUsage). Sensors update about every 100 ms, and those of the
  A100 and the H100 see a quarter of that time only (arXiv 2312.02741), so short runs have no true energy either.

A value is reported if at least half of the run was seen and at most half of it is blurred, and it carries its coverage
unless nearly all of the run was seen. A verdict follows only if the unseen and blurred time cannot change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from virnuc_profiler.analysis.timing.intervals import Interval, length, union
from virnuc_profiler.telemetry.records import GpuSamples

NVML_WINDOW_NS: Final = 1_000_000_000
"""Longest window over which NVML averages utilization and power."""

ENERGY_STEP_NS: Final = 100_000_000
"""Time between two steps of the energy counter, by which its increase during a run may be off."""

PROCESS_INTERVAL_NS: Final = 2_000_000_000
"""Usual interval between two readings of other processes, for files that do not state it."""

MIN_SHARE: Final = 0.5
"""Minimum share of a run that was seen. Below it, the unseen part outweighs the seen one and the value is null."""

MAX_BLURRED: Final = 0.5
"""Maximum blurred share of a run: it makes 1 s the shortest run that has a utilization."""

WHOLE_SHARE: Final = 0.95
"""Share from which a run counts as seen as a whole."""

SMALL_BLUR: Final = 0.02
"""Blurred share up to which the ends of a run do not matter: 25 s of NVML's utilization."""

LATE_INTERVALS: Final = 2
"""A reading stands for up to this many sampling intervals, because a busy machine delays the next one."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of an interval was sampled.

    Attributes:
        share: Share of the interval for which readings stand, 0 to 1.
        readings: Number of readings.
        largest_gap_seconds: Longest time for which no reading stands.
        blurred_share: Share of the interval that averaging may have mixed with the time beyond its ends, 0 or more.
    """

    share: float
    readings: int
    largest_gap_seconds: float
    blurred_share: float = 0.0

    @property
    def sufficient(self) -> bool:
        """Whether the readings may stand for the interval."""
        return self.share >= MIN_SHARE and self.blurred_share <= MAX_BLURRED

    @property
    def whole(self) -> bool:
        """Whether nearly all of the interval was seen, so that the value needs no remark."""
        return self.share >= WHOLE_SHARE and self.blurred_share <= SMALL_BLUR

    def to_json(self) -> dict[str, Any]:
        """Return the coverage as an entry of ``sampling_coverage`` in a telemetry summary."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Coverage | None:
        """Read an entry of ``sampling_coverage``; None if it is not a whole one.

        Args:
            values: Value from a file, of any type.
        """
        if not isinstance(values, Mapping):
            return None
        found = [values.get(name) for name in cls.__slots__]
        numbers = [float(value) for value in found if isinstance(value, int | float)]
        if len(numbers) < len(found):
            return None
        share, readings, gap_seconds, blurred_share = numbers
        return cls(share, int(readings), gap_seconds, blurred_share)


class Sampled(NamedTuple):
    """A sampled value with its coverage.

    Attributes:
        value: The value; None if it was not sampled or if too little was seen.
        coverage: Coverage of the interval; None if there was no reading at all.
    """

    value: float | None
    coverage: Coverage | None

    @classmethod
    def from_readings(cls, value: float | None, coverage: Coverage) -> Sampled:
        """Apply the rule to a value.

        Args:
            value: Value over the readings, or None.
            coverage: Coverage of the interval.
        """
        if not coverage.readings:
            return NOT_SAMPLED
        return cls(value if coverage.sufficient else None, coverage)


NOT_SAMPLED: Final = Sampled(None, None)
"""Result without a single reading."""


def coverage_of(interval: Interval, spans: Iterable[Interval], readings: int, blurred_ns: float = 0.0) -> Coverage:
    """Return the coverage of an interval by the times for which readings stand.

    Args:
        interval: Start and end on the host's clock, ns.
        spans: Times for which readings stand, ns, in any order; they may overlap or reach beyond the interval.
        readings: Number of readings.
        blurred_ns: Time that averaging may have mixed with the time beyond the ends of the interval.
    """
    start, end = interval
    duration_ns = end - start
    if duration_ns <= 0:
        return Coverage(0.0, readings, 0.0, 1.0 if blurred_ns else 0.0)
    seen = union((max(low, start), min(high, end)) for low, high in spans if low < end and high > start)
    edges = [start, *(moment for span in seen for moment in span), end]
    gap_ns = max(after - before for before, after in zip(edges[::2], edges[1::2], strict=True))
    return Coverage(length(seen) / duration_ns, readings, gap_ns / 1e9, blurred_ns / duration_ns)


def spans_before(interval: Interval, times_ns: Iterable[int], reach_ns: int) -> list[Interval]:
    """Return the times for which readings that look back stand: from the previous reading on, within their reach.

    Args:
        interval: Start and end on the host's clock, ns.
        times_ns: Times of the readings in (start, end], in order.
        reach_ns: Longest time for which one reading stands.
    """
    spans, previous = [], interval[0]
    for at_ns in times_ns:
        spans.append((max(previous, at_ns - reach_ns), at_ns))
        previous = at_ns
    return spans


def averaged_reach_ns(gpu: GpuSamples) -> int:
    """Return the longest time for which a reading of NVML's averages stands, ns.

    This is NVML's window. Readings that were meant to be rarer stand for two of their own intervals.

    Args:
        gpu: Readings of the GPU, with their sampling intervals.
    """
    return max(NVML_WINDOW_NS, LATE_INTERVALS * (sampling_interval_ns(gpu, "fast") or 0))


def moments_coverage(window: Interval, times_ns: Iterable[int], reach_ns: int) -> Coverage:
    """Return how much of a window was seen by readings of a moment, which look neither back nor ahead.

    Args:
        window: Start and end on the host's clock, ns.
        times_ns: Times of the readings. Those outside of the window do not count.
        reach_ns: Time before and after a reading for which it stands.
    """
    inside = [at_ns for at_ns in times_ns if window[0] < at_ns <= window[1]]
    return coverage_of(window, [(at_ns - reach_ns, at_ns + reach_ns) for at_ns in inside], len(inside))


def process_coverage(window: Interval, gpu: GpuSamples) -> Coverage:
    """Return how much of a window was seen by the readings of other processes, which look back to the one before.

    Args:
        window: Start and end on the host's clock, ns.
        gpu: Readings of the GPU.
    """
    known = (each.at_ns for each in gpu.processes if each.other_sm_percent is not None)
    times_ns = [at_ns for at_ns in known if window[0] < at_ns <= window[1]]
    reach_ns = LATE_INTERVALS * (sampling_interval_ns(gpu, "processes") or PROCESS_INTERVAL_NS)
    return coverage_of(window, spans_before(window, times_ns, reach_ns), len(times_ns))


def sampling_interval_ns(gpu: GpuSamples, tier: str) -> int | None:
    """Return the sampling interval of a tier, ns; None if it was not recorded.

    Args:
        gpu: Readings of the GPU, with their sampling intervals.
        tier: Name of the tier, such as ``fast``.
    """
    found = (int(each.interval_ms * 1e6) for each in gpu.tiers if each.name == tier and each.interval_ms > 0)
    return next(found, None)


def reaches(minimum: float, value: float | None, coverage: Coverage | None) -> bool | None:
    """Whether the percentage of a run reaches a minimum; None if what was sampled of the run cannot tell.

    Args:
        minimum: Required percentage.
        value: Mean over the part that was seen, 0 to 100; None if it was not measured.
        coverage: Coverage of the run, or None if it is unknown.
    """
    if value is None:
        return None
    low, high = percent_bounds(value, coverage)
    if low >= minimum:
        return True
    return False if high < minimum else None


def percent_bounds(value: float, coverage: Coverage | None) -> tuple[float, float]:
    """Return the lowest and the highest percentage that a run can have had, given what was sampled of it.

    Args:
        value: Mean over the part that was seen, 0 to 100.
        coverage: Coverage of the run. None, if it is unknown, and a whole one leave the value as it is.
    """
    if coverage is None or coverage.whole:
        return value, value
    seen = 1.0 if coverage.share >= WHOLE_SHARE else coverage.share
    blurred = 100 * coverage.blurred_share
    return max(0.0, seen * value - blurred), min(100.0, seen * value + 100 * (1 - seen) + blurred)


def joint_coverage(parts: Sequence[tuple[float, Coverage | None]]) -> Coverage:
    """Return the coverage of several runs together, such as the shards of a job.

    Args:
        parts: Seconds and coverage of each run; None stands for a run without readings.
    """
    total_s = sum(seconds for seconds, _ in parts)
    known = [(seconds / total_s, coverage) for seconds, coverage in parts if coverage is not None and total_s]
    gaps = [seconds for seconds, coverage in parts if coverage is None]
    return Coverage(
        share=min(1.0, sum(weight * coverage.share for weight, coverage in known)),
        readings=sum(coverage.readings for _, coverage in known),
        largest_gap_seconds=max([*gaps, *(coverage.largest_gap_seconds for _, coverage in known)], default=0.0),
        blurred_share=sum(weight * coverage.blurred_share for weight, coverage in known),
    )
