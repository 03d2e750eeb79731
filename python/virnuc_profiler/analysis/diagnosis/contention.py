# SPDX-License-Identifier: MIT
"""Signs of contention: another process, or another stream of this process, used the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from virnuc_profiler.analysis.gpu.coverage import (
    PROCESS_INTERVAL_NS,
    moments_coverage,
    process_coverage,
    sampling_interval_ns,
)
from virnuc_profiler.analysis.model_cost import DeviceCeiling
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.analysis.timing.statistics import mean, measured
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.records import GpuSamples

MIN_OTHER_PROCESS_SM: Final = 0.05
"""Minimum share of SM time, as reported by NVML, that counts as use by other processes. Displays and monitoring tools
stay below it."""

OWN_TENSOR_SHARE: Final = 0.65
"""If the model's own FLOPs, at the measured ceiling, explain less than this share of tensor-core activity, something
else uses the tensor cores. Packed ESM-2 explains 85 % or more when it runs alone (650M on an H200: 330 of 700 TFLOP/s
at an activity of 0.5), and 35 to 45 % when it gets half of the device. Used only if SM clocks are unknown."""

OWN_TENSOR_SHARE_PER_CYCLE: Final = 0.75
"""The same limit if the SM clocks of the run and of the ceiling are known. Activity is a share of cycles. At the power
limit a large matrix product runs at a lower clock than a forward pass, so by time a model seems to explain too much.
ESM-2 650M in bf16 on an H100, with a ceiling of 680.2 TFLOP/s at 1,320 MHz:

* alone: 501.1 TFLOP/s at 1,762 MHz, activity 0.58: 1.27 by time, 0.95 by cycle;
* matrix products on another stream: 345.1 TFLOP/s at 1,515 MHz, 0.67: 0.76 by time, 0.66 by cycle;
* another process: 230.1 TFLOP/s at 1,695 MHz, 0.65: 0.52 by time, 0.41 by cycle."""

MIN_HIDDEN_SIZE: Final = 640
"""Smaller models (8M, 35M) are not checked: kernels pad their small heads and matrices, so the tensor cores do up to
twice the work that the FLOPs indicate."""

MIN_TENSOR_ACTIVITY: Final = 0.1
"""Below this activity the quotient is meaningless."""


@dataclass(frozen=True, slots=True)
class ContentionSign:
    """One sign of contention.

    Attributes:
        statement: Description of the sign.
        figure: Its value, as text.
        taken_share: Share of the device's busy time that something else took, according to this sign.
    """

    statement: str
    figure: str
    taken_share: float


def other_process_count(gpu: GpuSamples | None, window: Interval) -> int | None:
    """Return the largest number of other processes that NVML saw on the device at once; None if it did not look.

    That it saw none says something only if it looked throughout most of the window; then 0 is returned, else None.

    Args:
        gpu: Readings of the GPU, or None.
        window: Start and end of the window on the host's clock, ns.
    """
    readings = () if gpu is None else gpu.processes
    known = [each for each in readings if window[0] < each.at_ns <= window[1] and each.other_processes is not None]
    if gpu is None or not known:
        return None
    most = max(measured(reading.other_processes for reading in known))
    interval_ns = sampling_interval_ns(gpu, "processes") or PROCESS_INTERVAL_NS
    looked = moments_coverage(window, (reading.at_ns for reading in known), interval_ns)
    return int(most) if most or looked.sufficient else None


def other_process_sm_time(gpu: GpuSamples | None, window: Interval) -> ContentionSign | None:
    """Return a sign if NVML reports that other processes used the SMs; None if not, or if too little was sampled.

    Args:
        gpu: Readings of the GPU, or None.
        window: Start and end of the window on the host's clock, ns.
    """
    if gpu is None or not process_coverage(window, gpu).sufficient:
        return None
    inside = [reading for reading in gpu.processes if window[0] < reading.at_ns <= window[1]]
    percent = mean(reading.other_sm_percent for reading in inside)
    if percent is None or percent < 100 * MIN_OTHER_PROCESS_SM:
        return None
    count = max((reading.other_processes or 0 for reading in inside), default=0)
    return ContentionSign(f"SM time of other processes ({count or 'some'}), by NVML", f"{percent:.0f}%", percent / 100)


def unexplained_tensor_activity(
    flops_per_second: float | None,
    ceiling: DeviceCeiling,
    tensor_activity: float | None,
    sm_clock_mhz: float | None = None,
) -> ContentionSign | None:
    """Return a sign if the tensor cores did more work than this model; None if not, or if it is unknown.

    Args:
        flops_per_second: FLOP/s of the model in the window, or None.
        ceiling: Ceiling of this device in this precision.
        tensor_activity: Tensor-core activity in the window, 0 to 1, or None.
        sm_clock_mhz: SM clock in the window, or None. If the ceiling has a clock too, FLOPs are compared per cycle
            instead of per second.
    """
    if flops_per_second is None or tensor_activity is None or tensor_activity < MIN_TENSOR_ACTIVITY:
        return None
    own, limit, flops = ratio(flops_per_second, ceiling.flops_per_second), OWN_TENSOR_SHARE, "FLOPs"
    faster = ratio(sm_clock_mhz, ceiling.sm_clock_mhz)
    if faster is not None and faster > 0:
        own, limit, flops = ratio(own, faster), OWN_TENSOR_SHARE_PER_CYCLE, "FLOPs per cycle"
    explained = ratio(own, tensor_activity)
    if explained is None or explained >= limit:
        return None
    statement = f"tensor activity of {tensor_activity:.2f} that the model's own {flops} explain"
    return ContentionSign(statement, f"{explained:.0%}", 1 - explained)
