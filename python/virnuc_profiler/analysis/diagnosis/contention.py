# SPDX-License-Identifier: MIT
"""Signs that somebody else used the device: another process, or another stream of this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from virnuc_profiler.analysis.diagnosis.launches import Launch
from virnuc_profiler.analysis.model_cost import DeviceCeiling
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.analysis.timing.statistics import mean, percentile
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.records import GpuSamples, PackingRecord

MIN_OTHER_PROCESS_SM: Final = 0.05
"""NVML's share of SM time of other processes that counts: below, it is a display or a monitoring tool."""

OWN_TENSOR_SHARE: Final = 0.65
"""If the model's own FLOPs, at the measured ceiling, explain less than this share of the tensor cores' activity,
somebody else keeps them busy. Alone, packed ESM-2 explains 85 % or more (650M on an H200: 330 of 700 TFLOP/s at an
activity of 0.5); a device shared in halves 35 to 45 %. For want of clocks only: see below."""

OWN_TENSOR_SHARE_PER_CYCLE: Final = 0.75
"""The same where the SM clocks of the run and of the ceiling are known. Activity is a share of cycles, and at the power
limit a large matrix product clocks down further than a forward pass, so by time a model explains more than it did.
ESM-2 650M in bf16 on an H100, whose ceiling was 680.2 TFLOP/s at 1,320 MHz:

* alone: 501.1 TFLOP/s at 1,762 MHz, activity 0.58: 1.27 by time, 0.95 by cycle;
* matrix products on another stream: 345.1 TFLOP/s at 1,515 MHz, 0.67: 0.76 by time, 0.66 by cycle;
* another process: 230.1 TFLOP/s at 1,695 MHz, 0.65: 0.52 by time, 0.41 by cycle."""

MIN_HIDDEN: Final = 640
"""Narrower models (8M, 35M) are left out: kernels pad their small heads and matrices, so the tensor cores do up to
twice the work that the FLOPs say."""

MIN_TENSOR_ACTIVITY: Final = 0.1
"""Below, the quotient says nothing."""

UNSTEADY: Final = 1.5
"""p90 over p10 of device time per unit of work between batches of similar size. Lengths alone move it by some 20 %:
attention is slower per FLOP than the matrix products, and short sequences have less of it."""

SIMILAR_SIZE: Final = 0.25
"""Batches within this share of the median number of tokens are compared."""

_ENOUGH_BATCHES: Final = 10


@dataclass(frozen=True, slots=True)
class SharingSign:
    """One sign: in words, its figure, and the share of the device's busy time that it says was taken."""

    statement: str
    figure: str
    taken_share: float


def foreign_processes(gpu: GpuSamples | None, window: Interval) -> SharingSign | None:
    """What NVML says of other processes during the window; None if they did nothing, or nobody looked."""
    if gpu is None:
        return None
    inside = [reading for reading in gpu.processes if window[0] < reading.at_ns <= window[1]]
    percent = mean(reading.other_sm_percent for reading in inside)
    if percent is None or percent < 100 * MIN_OTHER_PROCESS_SM:
        return None
    count = max((reading.other_processes or 0 for reading in inside), default=0)
    return SharingSign(f"SM time of other processes ({count or 'some'}), by NVML", f"{percent:.0f}%", percent / 100)


def foreign_tensor_work(
    flops_per_second: float | None,
    ceiling: DeviceCeiling,
    tensor_activity: float | None,
    sm_clock_mhz: float | None = None,
) -> SharingSign | None:
    """Whether the tensor cores did more than this model's FLOPs explain; None if they did not or it is not known.

    Args:
        flops_per_second: of the model, in the window.
        ceiling: of a large matrix product on this device in this precision.
        tensor_activity: 0 to 1, in the window.
        sm_clock_mhz: in the window; with the ceiling's the comparison is by cycle, else by time.
    """
    if flops_per_second is None or tensor_activity is None or tensor_activity < MIN_TENSOR_ACTIVITY:
        return None
    own, least, flops = ratio(flops_per_second, ceiling.flops_per_second), OWN_TENSOR_SHARE, "FLOPs"
    faster = ratio(sm_clock_mhz, ceiling.sm_clock_mhz)
    if faster is not None and faster > 0:
        own, least, flops = ratio(own, faster), OWN_TENSOR_SHARE_PER_CYCLE, "FLOPs per cycle"
    explained = ratio(own, tensor_activity)
    if explained is None or explained >= least:
        return None
    statement = f"tensor activity of {tensor_activity:.2f} that the model's own {flops} explain"
    return SharingSign(statement, f"{explained:.0%}", 1 - explained)


def unsteady_device(
    launches: Sequence[Launch],
    packings: Mapping[int, PackingRecord],
    work: Callable[[PackingRecord], float],
    clocks_mhz: Sequence[float | None],
) -> SharingSign | None:
    """Whether the device took very different times for like batches while its clocks did not change as much.

    Only batches count in which the device alone set the pace: not launch-bound, and no waiting inside a stage.

    Args:
        launches: of the window.
        packings: by batch index.
        work: what a batch costs, in any unit.
        clocks_mhz: SM clocks of the window.
    """
    own = [launch for launch in launches if not launch.launch_bound and launch.held_by is None]
    sized = [(launch.device_ns, packings[launch.batch_index]) for launch in own if launch.batch_index in packings]
    middle = percentile((packing.tokens for _, packing in sized), 50)
    if middle is None:
        return None
    like = [(ns, work(packing)) for ns, packing in sized if abs(packing.tokens - middle) <= SIMILAR_SIZE * middle]
    costs = [ns / amount for ns, amount in like if amount]
    fast, slow = percentile(costs, 10), percentile(costs, 90)
    if len(costs) < _ENOUGH_BATCHES or not fast or slow is None:
        return None
    low_clock, high_clock = percentile(clocks_mhz, 10), percentile(clocks_mhz, 90)
    explained = ratio(high_clock, low_clock) or 1.0
    if slow / fast < UNSTEADY * explained:
        return None
    needed = fast * explained * sum(amount for _, amount in like)
    taken = max(0.0, 1 - needed / sum(ns for ns, _ in like))
    return SharingSign("device time for like batches, slow tenth over fast tenth", f"{slow / fast:.1f}x", taken)
