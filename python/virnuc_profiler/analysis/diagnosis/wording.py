# SPDX-License-Identifier: MIT
"""The text of a diagnosis: its sentences with their remedies, and the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Final, NamedTuple

from virnuc_profiler.analysis.diagnosis import host_activity as host
from virnuc_profiler.analysis.diagnosis.bottlenecks import (
    COLLATION,
    CONSUMING,
    COPYING,
    DATA_LOADING,
    DEVICE,
    DEVICE_ARITHMETIC,
    HOST_ARITHMETIC,
    LABELS,
    LAUNCHING,
    MEMORY_BANDWIDTH,
    OTHER_HOST_WORK,
    SHARED_DEVICE,
    SYNCHRONIZING,
    THROTTLING,
)
from virnuc_profiler.analysis.diagnosis.lost_time import LostTime
from virnuc_profiler.analysis.diagnosis.observation import Observation
from virnuc_profiler.analysis.gpu.throttling import POWER_CAP, REASONS, Slowdown

_SENTENCES: Final[Mapping[str, str]] = {
    DATA_LOADING: "The run is bound by data loading: it spends {share} of its time waiting for the loader. Use more "
    "workers (num_workers) or a faster source.",
    COLLATION: "The run is bound by collation: {share} of its time goes into tokenizing and packing while the device "
    "is idle. Encode in the workers, or use a faster collator.",
    LAUNCHING: "The run is bound by launching: for {upto}{share} of the time the device waits for the host to launch "
    "the next kernel. Raise token_budget so that each launch does more work, or use torch.compile or CUDA graphs, "
    "which need fewer launches. An .item() or a synchronize inside a stage looks the same.",
    SYNCHRONIZING: "The run is bound by synchronizing: the host waits for the device{where} before it prepares the "
    "next batch, so the device is idle for {upto}{share} of the time. Queue the next batch before waiting for the "
    "previous one, and wait for an event instead of the whole device.",
    COPYING: "The run is bound by copying: {share} of its time goes into copies that nothing overlaps{where}. Copies "
    "from or to pageable memory block the host until they finish: pin the memory, copy with non_blocking=True, and "
    "copy less.",
    CONSUMING: "The run is bound by the consumer of its results: the device is idle for {share} of the time while "
    "results are delivered. Process results in a thread, or after queueing the next batch.",
    OTHER_HOST_WORK: "The run is bound by other work on the host: {share} of its time passes outside of the pipeline's "
    "stages. Give that work a stage of its own to identify it.",
    SHARED_DEVICE: "The device is shared: other work took about {share} of the time. Use a device exclusively, or "
    "compare only runs under the same load.",
    THROTTLING: "The run is bound by throttling: lower clocks cost about {share} of its time. Check cooling, power "
    "supply and power limit (nvidia-smi -q -d PERFORMANCE).",
}

_BUSY: Final = "Healthy: the device is busy {busy} of the time and nothing slows it down"

_HEALTHY: Final[Mapping[str, str]] = {
    DEVICE_ARITHMETIC: f"{_BUSY}; its arithmetic sets the pace.",
    MEMORY_BANDWIDTH: f"{_BUSY}; its memory bandwidth sets the pace. Fused kernels (torch.compile) move less data.",
    DEVICE: f"{_BUSY}. Whether arithmetic or memory bandwidth sets the pace was not measured.",
    HOST_ARITHMETIC: "The run is on the CPU, whose arithmetic sets the pace. It does not predict the speed of a GPU.",
}

_HOST_LABELS: Final = {
    host.FETCHING: "waiting for data",
    host.COLLATING: "collating",
    host.LAUNCHING: "in the model's stages",
    host.CONSUMING: "the consumer of results",
    host.OWN_STAGE: "other stages",
    host.UNSTAGED: "outside of all stages",
    host.UNKNOWN: "batches without their device times",
}


class Evidence(NamedTuple):
    """One observation that supports a diagnosis.

    Attributes:
        statement: Description of what was measured.
        figure: Its value, as text.
    """

    statement: str
    figure: str


def bottleneck_sentence(bottleneck: str, lost_time: LostTime) -> str:
    """Return the verdict on a run that loses time to a bottleneck.

    Args:
        bottleneck: Name of the bottleneck, one of the causes in `lost_time`.
        lost_time: Lost time of the run.
    """
    inside = bottleneck == SYNCHRONIZING and lost_time.waits_inside
    where = f" inside the stage {lost_time.blocking_stage!r}" if lost_time.blocking_stage else ""
    if inside:
        where = " inside a stage that also launches work"
    upto = "up to " if inside or bottleneck == LAUNCHING else ""
    return _SENTENCES[bottleneck].format(share=percent(lost_time.shares[bottleneck]), where=where, upto=upto)


def further_sentence(cause: str, share: float) -> str:
    """Return a line for a cause of lost time that is not the bottleneck.

    Args:
        cause: Name of the cause.
        share: Share of the window that it cost, 0 to 1.
    """
    return f"Also {LABELS[cause]}: {percent(share)} of the time."


def healthy_sentence(bottleneck: str, busy_share: float) -> str:
    """Return the verdict on a run that loses no considerable time.

    Args:
        bottleneck: What sets the pace of the run.
        busy_share: Share of the window in which the device was busy, 0 to 1.
    """
    return _HEALTHY[bottleneck].format(busy=percent(busy_share))


def percent(share: float) -> str:
    """Format a share from 0 to 1 as ``4.2%``.

    Args:
        share: Share to format.
    """
    return f"{100 * share:.1f}%"


def device_evidence(observation: Observation, lost_time: LostTime, mfu: float | None) -> Iterator[Evidence]:
    """Yield the evidence of device times, GPM and NVML, except for the gaps.

    Args:
        observation: Measurements of the run.
        lost_time: Lost time of the run.
        mfu: Model FLOPs utilization in the window, or None.
    """
    yield _window(observation)
    if observation.busy_share is not None:
        yield Evidence("device busy", percent(observation.busy_share))
    if lost_time.launch_bound_share is not None:
        yield Evidence("batches in which the device ended with the host", percent(lost_time.launch_bound_share))
    if lost_time.waiting_share:
        yield Evidence("batches after which the host waited with an empty queue", percent(lost_time.waiting_share))
    if lost_time.blocking_stage:
        yield Evidence("stage that blocks the host until the device is done", lost_time.blocking_stage)
    if lost_time.copy_share:
        yield Evidence("device time in copies alone", percent(lost_time.copy_share))
    for unit, label in (("sm", "SM"), ("tensor", "tensor"), ("dram", "DRAM")):
        if (activity := getattr(observation.activity, unit)) is not None:
            yield Evidence(f"{label} activity", f"{activity:.2f}")
    for sign in lost_time.contention:
        yield Evidence(sign.statement, sign.figure)
    if lost_time.slowdown is not None:
        yield from _clocks(lost_time.slowdown)
    if (rate := observation.flops_per_second) is not None:
        yield Evidence("model FLOP/s", f"{rate / 1e12:,.1f} TFLOP/s")
    if mfu is not None:
        yield Evidence("MFU, of the calibrated ceiling", percent(mfu))
    missing = observation.batch_count - len(observation.launches)
    if missing:
        yield Evidence("batches without device times", f"{missing:,} of {observation.batch_count:,}")


def host_evidence(shares: Mapping[str, float], observation: Observation, reason: str) -> Iterator[Evidence]:
    """Yield the evidence of host times alone.

    Args:
        shares: Shares of the window by host activity.
        observation: Measurements of the run.
        reason: Why there are no device times.
    """
    yield _window(observation)
    for activity, share in sorted(shares.items(), key=itemgetter(1), reverse=True):
        yield Evidence(f"host: {_HOST_LABELS[activity]}", percent(share))
    yield Evidence("device", f"not measured ({reason})")


def _window(observation: Observation) -> Evidence:
    part = "after warm-up" if observation.steady else "the whole run, too short to exclude warm-up"
    figure = f"{observation.batch_count:,} batches, {observation.window_ns / 1e9:.3f} s ({part})"
    return Evidence("window", figure)


def _clocks(slow: Slowdown) -> Iterator[Evidence]:
    if slow.median_clock_mhz is not None:
        limit = "" if slow.max_clock_mhz is None else f" of {slow.max_clock_mhz:,}"
        yield Evidence("SM clock, median", f"{slow.median_clock_mhz:,.0f}{limit} MHz")
    for reason, share in slow.shares.items():
        normal = " (normal at full load)" if reason == REASONS[POWER_CAP] and not slow.lost_share else ""
        yield Evidence(f"clocks lowered by {reason}", f"{percent(share)} of the time{normal}")
