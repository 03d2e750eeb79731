# SPDX-License-Identifier: MIT
"""Everything that a diagnosis looks at, taken once from a run: its steady window and what was measured in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from virnuc_profiler.analysis.diagnosis.bottlenecks import NOT_MEASURED
from virnuc_profiler.analysis.diagnosis.gaps import DeviceGaps, device_gaps
from virnuc_profiler.analysis.diagnosis.host_activity import HostTimeline, host_timeline
from virnuc_profiler.analysis.diagnosis.launches import Launch, launches_of
from virnuc_profiler.analysis.gpu.activity import activity_during
from virnuc_profiler.analysis.model_cost import forward_flops
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.analysis.timing.steady_state import completions, steady_batches, steady_state
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.records import GpuSamples, PackingRecord
from virnuc_profiler.telemetry.run_result import RunResult

MAX_CLOCK_SLACK_NS: Final = 200_000
"""Device times that are further off than this cannot be held against the host's; allowing for more would hide all."""


@dataclass(frozen=True)
class Activity:
    """Mean GPM activity, 0 to 1; None where it was not measured, or not for long enough."""

    sm: float | None
    tensor: float | None
    dram: float | None


@dataclass(frozen=True)
class Observation:
    """A run as a diagnosis sees it.

    Attributes:
        window: the steady part, from the completion of the last warm-up batch to the last completion: as many gaps as
            batches. Without a steady part what the device did, and without device times the whole run.
        steady: whether it is.
        batches: that were completed in the window.
        all_batches: also those that were completed before.
        host: what the host did, throughout the run.
        whole: gaps of the whole run.
        gaps: gaps of the window.
        launches: of the window's batches.
        gpu: what was sampled.
        activity: in the window.
        flops: of the model in the window's batches; None without its shape or packing statistics.
    """

    window: Interval
    steady: bool
    batches: BatchTable
    all_batches: BatchTable
    host: HostTimeline
    whole: DeviceGaps
    gaps: DeviceGaps
    launches: Sequence[Launch]
    gpu: GpuSamples | None
    activity: Activity
    flops: int | None

    @property
    def window_ns(self) -> int:
        """Its length."""
        return self.window[1] - self.window[0]

    @property
    def busy_share(self) -> float | None:
        """Share of the window in which the device had something to do; None without device times.

        Gaps in which it may have worked on batches that lost their device times are taken out of the window.
        """
        unknown_ns = sum(gap.causes.get(NOT_MEASURED, 0) for gap in self.gaps.gaps)
        return ratio(self.gaps.busy_ns, self.window_ns - unknown_ns) if self.gaps.busy else None

    @property
    def flops_per_second(self) -> float | None:
        """Of the model, in the window."""
        return None if self.flops is None else ratio(self.flops * 1e9, self.window_ns)

    @property
    def packings(self) -> dict[int, PackingRecord]:
        """Packing statistics by batch index."""
        return self.batches.packings()


def observe(run: RunResult, layers: int | None = None, hidden: int | None = None) -> Observation:
    """Looks at a run; `layers` and `hidden` are the model's shape, for its FLOPs."""
    batches = run.batches
    span = (run.host_start_ns, run.host_end_ns)
    slack_ns = min(run.device.alignment_uncertainty_ns or 0, MAX_CLOCK_SLACK_NS)
    host = host_timeline(batches, span)
    whole = device_gaps(batches, span, host, slack_ns)
    steady = steady_batches(batches)
    launches = launches_of(steady or batches, slack_ns)
    window = steady_state(completions(batches)).window or _window(launches) or span
    return Observation(
        window=window,
        steady=bool(steady),
        batches=steady or batches,
        all_batches=batches,
        host=host,
        whole=whole,
        gaps=whole.within(window),
        launches=launches,
        gpu=run.gpu,
        activity=_activity(run.gpu, window),
        flops=_flops(steady or batches, layers, hidden),
    )


def _window(launches: Sequence[Launch]) -> Interval | None:
    if not launches:
        return None
    return min(launch.device_start_ns for launch in launches), max(launch.device_end_ns for launch in launches)


def _activity(gpu: GpuSamples | None, window: Interval) -> Activity:
    readings = () if gpu is None else gpu.gpm
    return Activity(*(activity_during(window, readings, f"{unit}_activity") for unit in ("sm", "tensor", "dram")))


def _flops(batches: BatchTable, layers: int | None, hidden: int | None) -> int | None:
    packed = batches.packed()
    if layers is None or hidden is None or not packed or len(packed) < len(batches):
        return None
    return forward_flops(packed.sum("tokens"), packed.sum("sum_squared_lengths"), layers, hidden)
