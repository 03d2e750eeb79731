# SPDX-License-Identifier: MIT
"""The sentences of a diagnosis: verdicts with their remedies.

A sentence claims what its evidence carries. Where several explanations fit, it lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from virnuc_profiler.analysis.diagnosis.bottlenecks import (
    COLLATION,
    CONSUMING,
    COPYING,
    DATA_LOADING,
    DEVICE,
    DEVICE_ARITHMETIC,
    LABELS,
    LAUNCHING,
    MEMORY_BANDWIDTH,
    OTHER_HOST_WORK,
    QUEUED,
    SHARED_DEVICE,
    SYNCHRONIZING,
    THROTTLING,
    UNSTEADY_DEVICE,
)
from virnuc_profiler.analysis.diagnosis.host_activity import ACTIVITY_LABELS
from virnuc_profiler.analysis.diagnosis.lost_time import LostTime
from virnuc_profiler.analysis.diagnosis.observation import Observation
from virnuc_profiler.analysis.diagnosis.start_up_wording import duration, percent, start_up_sentence
from virnuc_profiler.analysis.diagnosis.unsteady import TREND_RATIO, UnsteadyDevice
from virnuc_profiler.analysis.timing.steady_state import MIN_STEADY_BATCHES, MIN_WARM_UP_BATCHES
from virnuc_profiler.telemetry.number_text import counted

BOUND_SHARE: Final = 0.25
"""A run is bound by a cause that takes this share of its time: without it, the run would be a third faster. A smaller
loss is called the largest one, because something else sets the pace."""

MIN_BATCHES: Final = MIN_WARM_UP_BATCHES + MIN_STEADY_BATCHES
"""Number of batches from which a run can have a steady part."""

MOSTLY: Final = 0.9
"""Share of the time in device stages from which the device's own timestamps speak for all of it."""

_CAUSES: Final[Mapping[str, str]] = {
    DATA_LOADING: "data loading: the run spends {share} of that time waiting for the loader. Use more workers "
    "(num_workers) or a faster source.",
    COLLATION: "collation: {share} of that time goes into tokenizing and packing{idle}. Encode in the workers, or use "
    "a faster collator.",
    LAUNCHING: "launching: for {upto}{share} of that time the device waits for the host to launch the next kernel. "
    "Use larger batches (token_budget), so that each launch does more work, or torch.compile or CUDA graphs, which "
    "need fewer launches. An .item() or a synchronize inside a stage looks the same.",
    SYNCHRONIZING: "synchronizing: the host waits for the device{where} before it prepares the next batch, so the "
    "device is idle for {upto}{share} of that time. Queue the next batch before waiting for the previous one, and "
    "wait for an event instead of the whole device.",
    COPYING: "copying: {share} of that time goes into copies that nothing overlaps{where}. Copies from or to pageable "
    "memory block the host until they finish: pin the memory, copy with non_blocking=True, and copy less.",
    CONSUMING: "the consumer of the results: {share} of that time passes{idle} while results are delivered. Process "
    "results in a thread, or after queueing the next batch.",
    OTHER_HOST_WORK: "other work on the host: {share} of that time passes{idle} outside of the pipeline's stages or in "
    "stages of your own. Give that work a stage to identify it.",
    QUEUED: "queued work that did not begin: for {share} of that time the next stage was queued and the device did not "
    "start it. Work on another stream comes first, of this process or of another one, or the stream waits for an "
    "event.{others}",
    UNSTEADY_DEVICE: "uneven device times: of similar batches, the slow ones (p90) take {ratio} times as long as the "
    "fast ones (p10){trend}, which costs about {share} of that time.{others}{clocks} Waits for launches inside a "
    "stage, and work that the packing statistics do not show, would look the same. Compare the slow batches with the "
    "others, watch the clocks (nvidia-smi -q -d CLOCK,PERFORMANCE), and use the device exclusively.",
    SHARED_DEVICE: "a shared device: other work takes about {share} of that time ({signs}). Use the device "
    "exclusively, or compare only runs under the same load.",
    THROTTLING: "throttling: lower clocks cost about {share} of that time. Check cooling, power supply and power limit "
    "(nvidia-smi -q -d PERFORMANCE).",
}

_HEALTHY: Final[Mapping[str, str]] = {
    DEVICE_ARITHMETIC: "; its arithmetic sets the pace.",
    MEMORY_BANDWIDTH: "; its memory bandwidth sets the pace. Fused kernels (torch.compile) move less data.",
    DEVICE: ". Whether arithmetic or memory bandwidth sets the pace was not measured.",
}


def bottleneck_sentence(bottleneck: str, lost_time: LostTime, *, device: bool = True) -> str:
    """Return the verdict on a run that loses time to a bottleneck.

    Args:
        bottleneck: Name of the bottleneck, one of the causes in `lost_time`.
        lost_time: Lost time of the run.
        device: Whether the device is known to be idle meanwhile, because device times were measured.
    """
    share = lost_time.shares[bottleneck]
    inside = bottleneck == SYNCHRONIZING and lost_time.waits_inside
    where = f" inside the stage {lost_time.blocking_stage!r}" if lost_time.blocking_stage else ""
    if inside:
        where = " inside a stage that also launches work"
    unsteady = lost_time.unsteady
    verdict = "After warm-up, the run is bound by" if share >= BOUND_SHARE else "After warm-up, the largest loss is"
    cause = _CAUSES[bottleneck].format(
        share=percent(share),
        where=where,
        idle=" while the device is idle" if device else "",
        upto="up to " if (inside or bottleneck == LAUNCHING) and not lost_time.kernels_known else "",
        others=_others(lost_time.other_processes),
        ratio="" if unsteady is None else f"{unsteady.slow_to_fast:.1f}",
        trend="" if unsteady is None else _trend(unsteady),
        clocks="" if unsteady is None else _clocks(unsteady),
        signs="; ".join(f"{sign.statement}: {sign.figure}" for sign in lost_time.contention),
    )
    return f"{verdict} {cause}"


def _others(other_processes: int | None) -> str:
    if other_processes is None:
        return " Whether other processes use this device was not observed."
    if not other_processes:
        return " NVML saw no other process on this device."
    count = counted(other_processes, "other process", "other processes")
    return f" NVML saw {count} on this device, but no SM time of others."


def _trend(unsteady: UnsteadyDevice) -> str:
    if unsteady.trend >= TREND_RATIO:
        return " (they became slower in the course of the run)"
    return " (they became faster in the course of the run)" if unsteady.trend <= 1 / TREND_RATIO else ""


def _clocks(unsteady: UnsteadyDevice) -> str:
    if unsteady.clocks_sampled:
        return " The SM clocks do not explain it."
    return " SM clocks were not sampled, or too rarely to tell."


def further_sentence(cause: str, share: float) -> str:
    """Return a line for a cause of lost time that is not the bottleneck.

    Args:
        cause: Name of the cause.
        share: Share of the window that it cost, 0 to 1.
    """
    upto = "up to " if cause == LAUNCHING else ""
    return f"Also {LABELS[cause]}: {upto}{percent(share)} of that time."


def healthy_sentence(bottleneck: str, observation: Observation, *, uncertain: bool) -> str:
    """Return the verdict on a run that loses no considerable time on the device.

    Args:
        bottleneck: What sets the pace of the run.
        observation: Measurements of the run.
        uncertain: Whether a considerable loss was found that the error of the clocks may explain.
    """
    share, exact, sm = observation.stage_share or 0.0, observation.timestamped_share, observation.activity.sm
    busy = None if observation.kernels is None else observation.kernels.busy_share_at_own_pace
    measured = [] if exact is None else [f"for {percent(exact)} by its own timestamps"]
    measured += [] if busy is None else [f"busy for {percent(busy)} by CUPTI"]
    measured += [] if sm is None else [f"with an SM activity of {sm:.2f}"]
    known = f" ({', '.join(measured)})" if measured else ""
    exactly = (exact or 0.0) >= MOSTLY * share
    seen = exactly or sm is not None or busy is not None
    most = "" if exactly else "at most "
    hidden = "" if seen else " Waits for launches inside a stage were not measured."
    beyond = " beyond the error of the clocks" if uncertain else ""
    return (
        f"Healthy: after warm-up, the device is in its stages for {most}{percent(share)} of the time"
        f"{known}, and no loss of 2% or more was found{beyond}{_HEALTHY[bottleneck]}{hidden}"
    )


def host_healthy_sentence(in_stages: float) -> str:
    """Return the verdict on a run on the CPU that does not wait.

    Args:
        in_stages: Share of the window in the model's stages, 0 to 1.
    """
    return (
        f"The run is on the CPU, whose arithmetic sets the pace: after warm-up, {percent(in_stages)} of the time "
        "passes in the model's stages. It does not predict the speed of a GPU."
    )


def tail_sentence(tail_ns: int, run_ns: int) -> str:
    """Return what passed after the last batch of a run, and what to do.

    Args:
        tail_ns: Time after the last batch.
        run_ns: Length of the run.
    """
    return (
        f"End: {duration(tail_ns / 1e9)} of the run's {duration(run_ns / 1e9)} passed after its last batch. Stop the "
        "profiler before work that is not part of the loop; in a run that was broken off, a batch was not finished."
    )


def too_short_sentence(observation: Observation, spent: Mapping[str, float]) -> str:
    """Return why a run has no diagnosis, the way out, and where its time went.

    Args:
        observation: Measurements of the run.
        spent: Shares of the run by host activity.
    """
    batches, start_up, in_stages = observation.batch_count, observation.start_up, observation.stage_share
    few = counted(batches, "batch", "batches")
    need = f"it takes {MIN_BATCHES}" if batches < MIN_BATCHES else "more of them need device times"
    if in_stages is not None:
        where = f"The device was in its stages for at most {percent(in_stages)} of the run."
    else:
        most = max(spent, key=spent.__getitem__)
        where = f"Most of its time passed {ACTIVITY_LABELS[most]} ({percent(spent[most])})."
    begun = f" {start_up_sentence(start_up)}" if start_up is not None and start_up.considerable else ""
    return (
        f"The run is too short for a diagnosis: {few}, and {need} to tell its steady part from its warm-up. Use more "
        f"sequences, or smaller batches. {where}{begun}"
    )
