# SPDX-License-Identifier: MIT
"""The measurements that a diagnosis is based on, extracted once from a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from virnuc_profiler.analysis.diagnosis.bottlenecks import NOT_MEASURED
from virnuc_profiler.analysis.diagnosis.gaps import DeviceGaps, device_gaps
from virnuc_profiler.analysis.diagnosis.host_activity import HostTimeline, host_timeline
from virnuc_profiler.analysis.diagnosis.launches import Launches, launches_of
from virnuc_profiler.analysis.diagnosis.start_up import StartUp, start_up_of
from virnuc_profiler.analysis.gpu.activity import sampled_activity
from virnuc_profiler.analysis.model_cost import ModelShape, flops_by_batch, forward_flops
from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.analysis.timing.interval_columns import clip, length
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.analysis.timing.steady_state import SteadyState, steady_state
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.parts.kernel_records import KernelActivity
from virnuc_profiler.telemetry.rates import ratio, sequences_per_pass
from virnuc_profiler.telemetry.records import DeviceCapture, GpuSamples
from virnuc_profiler.telemetry.run_result import RunResult

MAX_CLOCK_SLACK_NS: Final = 200_000
"""Upper bound of the tolerance between host and device times. A larger one would hide every gap."""


@dataclass(frozen=True)
class Activity:
    """Mean GPM activity, 0 to 1; None if it was not measured for long enough.

    Attributes:
        sm: Activity of the SMs.
        tensor: Activity of the tensor cores.
        dram: Activity of the device memory.
        seen_share: Share of the window for which the samples stand; None without samples.
    """

    sm: float | None
    tensor: float | None
    dram: float | None
    seen_share: float | None = None


@dataclass(frozen=True)
class Observation:
    """Measurements of a run that a diagnosis needs.

    Attributes:
        window: Steady part of the run, from the completion of the last warm-up batch to the last completion, so that it
            has as many gaps as batches; the whole run if it is too short for that.
        after_warm_up: Rates of the steady part, and the batches in it.
        batches: Batches that completed in the window.
        batch_count: Number of these batches.
        all_batches: All batches of the run.
        host: Activity of the host throughout the run.
        whole: Gaps of the whole run.
        gaps: Gaps of the window.
        launches: Launches of the window's batches.
        gpu: Readings of the GPU, or None.
        activity: GPM activity in the window.
        kernels: Device work of some batches that were run again under CUPTI; None without such a capture.
        shape: Shape of the model, or None if it is unknown.
        flops: FLOPs of the window's batches; None without the model's shape or packing statistics.
        start_up: The run until its batches reached their pace; None without batches.
        tail_ns: Time from the end of the last batch, on host and device, to the end of the run; 0 without batches.
        clock_error_ns: Tolerance between device and host times: the stated error of their alignment, up to a limit.
    """

    window: Interval
    after_warm_up: SteadyState
    batches: BatchTable
    batch_count: int
    all_batches: BatchTable
    host: HostTimeline
    whole: DeviceGaps
    gaps: DeviceGaps
    launches: Launches
    gpu: GpuSamples | None
    activity: Activity
    kernels: KernelActivity | None
    shape: ModelShape | None
    flops: int | None
    start_up: StartUp | None
    tail_ns: int
    clock_error_ns: int

    @property
    def steady(self) -> bool:
        """Whether `window` is the steady part."""
        return self.after_warm_up.window is not None

    @property
    def window_ns(self) -> int:
        """Length of the window."""
        return self.window[1] - self.window[0]

    @property
    def stage_share(self) -> float | None:
        """Share of the window in which the device was in a stage; None without device times.

        The device was busy for at most this share, because an interval can include waits for launches. Gaps in which
        the device may have worked on batches without device times are excluded from the window.
        """
        return ratio(self.gaps.in_stages_ns, self.known_ns) if self.gaps.known else None

    @property
    def timestamped_share(self) -> float | None:
        """Share of the window in stages that the device timed itself; None if there are none.

        These intervals are exact: the first and the last kernel of a replayed graph write them.
        """
        stages = self.all_batches.timestamped_stages
        if not len(stages):
            return None
        return ratio(length(*clip(stages.device_start_ns, stages.device_end_ns, self.window)), self.known_ns)

    @property
    def known_ns(self) -> int:
        """Length of the window, except for gaps in which the device may have worked unseen."""
        return self.window_ns - int(self.gaps.parts.spent_on(NOT_MEASURED).sum())

    @property
    def flops_per_second(self) -> float | None:
        """FLOP/s of the model in the window; None if its FLOPs are unknown."""
        return None if self.flops is None else ratio(self.flops * 1e9, self.window_ns)


def observe(run: RunResult, shape: ModelShape | None = None, *, device_later_ns: int = 0) -> Observation:
    """Extract the measurements of a run.

    Args:
        run: Run to observe.
        shape: Shape of the model, from which its FLOPs follow; None if it is unknown.
        device_later_ns: Time to add to all device times, ns, to see what their error can change. They are then
            compared with host times without a tolerance.
    """
    batches = run.batches.with_device_times_later(device_later_ns) if device_later_ns else run.batches
    span = (run.host_start_ns, run.host_end_ns)
    slack_ns = 0 if device_later_ns else min(stated_clock_error_ns(run.device), MAX_CLOCK_SLACK_NS)
    host = host_timeline(batches, span)
    whole = device_gaps(batches, span, host, slack_ns)
    flops = None if shape is None else flops_by_batch(batches, shape)
    steady = steady_state(batches, flops, sequences_per_pass(run.metadata))
    chosen = batches if steady.window is None else steady.batches
    launches = launches_of(chosen[:], slack_ns)  # a view, so that the columns made for it are not kept
    window = steady.window or span
    return Observation(
        window=window,
        after_warm_up=steady,
        batches=chosen,
        batch_count=len(chosen),
        all_batches=batches,
        host=host,
        whole=whole,
        gaps=whole.within(window),
        launches=launches,
        gpu=run.gpu,
        activity=_activity(run.gpu, window),
        kernels=run.kernels,
        shape=shape,
        flops=batches_flops(chosen, shape),
        start_up=start_up_of(batches, span, host, steady=steady.window, work=flops, record=run.start_up),
        tail_ns=_tail_ns(batches, span),
        clock_error_ns=slack_ns,
    )


def stated_clock_error_ns(device: DeviceCapture) -> int:
    """Return by how much device times may be off on the host's clock, ns: uncertainty and residual add up.

    Args:
        device: Device of the run.
    """
    return (device.alignment_uncertainty_ns or 0) + (device.alignment_residual_ns or 0)


def batches_flops(batches: BatchTable, shape: ModelShape | None) -> int | None:
    """Return the FLOPs of some batches; None if the shape, or the content of a batch, is unknown.

    Args:
        batches: Batches to count.
        shape: Shape of the model, or None if it is unknown.
    """
    if shape is None or not batches.all_packed:  # the FLOPs of some batches are not those of all
        return None
    tokens, squares = batches.columns["tokens"], batches.columns["sum_squared_lengths"]
    return forward_flops(int(tokens.sum()), int(squares.sum()), shape)


def _tail_ns(batches: BatchTable, span: Interval) -> int:
    if not len(batches):
        return 0
    last_ns = max(int(batches.columns["host_end_ns"].max()), int(completions_of(batches).at_ns.max()))
    return max(0, span[1] - last_ns)


def _activity(gpu: GpuSamples | None, window: Interval) -> Activity:
    if gpu is None:
        return Activity(None, None, None)
    sm, tensor, dram = (sampled_activity(window, gpu.gpm, f"{unit}_activity") for unit in ("sm", "tensor", "dram"))
    shares = [sampled.coverage.share for sampled in (sm, tensor, dram) if sampled.coverage is not None]
    return Activity(sm.value, tensor.value, dram.value, min(shares, default=None))
