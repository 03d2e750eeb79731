# SPDX-License-Identifier: MIT
"""The sentences of a diagnosis: what it is, and the way out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    LAUNCHING,
    MEMORY_BANDWIDTH,
    OTHER_HOST_WORK,
    SHARED_DEVICE,
    THROTTLING,
    WORDS,
    SYNCHRONIzING,
)
from virnuc_profiler.analysis.diagnosis.lost_time import Losses
from virnuc_profiler.analysis.diagnosis.observation import Observation
from virnuc_profiler.analysis.gpu.throttling import Slowdown

_SENTENCES: Final[Mapping[str, str]] = {
    DATA_LOADING: "The run is bound by data loading: {share} of its time goes into waiting for the loader. Use more "
    "workers (num_workers), or a faster source.",
    COLLATION: "The run is bound by collation: {share} of its time goes into tokenizing and packing while nothing else "
    "is done. Encode in the workers, or use a faster collator.",
    LAUNCHING: "The run is bound by launching: {upto}{share} of its time the device waits for the host to launch the "
    "next kernel. Raise token_budget, so that each launch does more; torch.compile and CUDA graphs launch less. "
    "An .item() or a synchronize inside a stage looks like this too.",
    SYNCHRONIzING: "The run is bound by synchronizing: the host waits for the device{where}, and only then prepares "
    "the next batch, so the device stands idle for {upto}{share} of the time. Queue the next batch before waiting for "
    "the last, and wait for an event instead of the device.",
    COPYING: "The run is bound by copying: {share} of its time goes into copies that nothing overlaps{where}. Copies "
    "from or to pageable memory hold the host until they are done: pin the memory, copy with non_blocking=True, and "
    "copy less.",
    CONSUMING: "The run is bound by the consumer of its results: the device stands idle for {share} of the time while "
    "results are handed over. Do that work in a thread, or after the next batch is queued.",
    OTHER_HOST_WORK: "The run is bound by other work on the host: for {share} of its time the loop does something that "
    "is in none of the pipeline's stages. Give it a stage of its own to see what it is.",
    SHARED_DEVICE: "The device is shared: others took about {share} of the time. Give the run a device of its own, or "
    "compare only runs under the same load.",
    THROTTLING: "The run is bound by throttling: lower clocks cost about {share} of its time. Look at cooling, power "
    "supply and power limit (nvidia-smi -q -d PERFORMANCE).",
}

_BUSY: Final = "Healthy: the device is busy {busy} of the time and nothing slows it"

_HEALTHY: Final[Mapping[str, str]] = {
    DEVICE_ARITHMETIC: f"{_BUSY}; its arithmetic sets the pace.",
    MEMORY_BANDWIDTH: f"{_BUSY}; its memory bandwidth sets the pace. Fused kernels (torch.compile) move less.",
    DEVICE: f"{_BUSY}. Whether arithmetic or memory bandwidth sets the pace was not measured.",
    HOST_ARITHMETIC: "The run is on the CPU, whose arithmetic sets the pace. What a GPU would do is not known from it.",
}


def sentence_for(bound: str, losses: Losses) -> str:
    """The verdict on a run that loses time to `bound`."""
    bounded = bound == LAUNCHING or (bound == SYNCHRONIzING and losses.waits_inside)
    where = f" inside the stage {losses.held_by!r}" if losses.held_by else ""
    if bound == SYNCHRONIzING and losses.waits_inside:
        where = " inside a stage that it also launches from"
    return _SENTENCES[bound].format(share=percent(losses.shares[bound]), where=where, upto="up to " if bounded else "")


def further_sentence(cause: str, share: float) -> str:
    """Another finding beside the verdict."""
    return f"Also {WORDS[cause]}: {percent(share)} of the time."


def healthy_sentence(bound: str, busy_share: float) -> str:
    """The verdict on a run that loses nothing worth naming."""
    return _HEALTHY[bound].format(busy=percent(busy_share))


def percent(share: float) -> str:
    """``4.2%`` of a share from 0 to 1."""
    return f"{100 * share:.1f}%"


_HOST_WORDS: Final = {
    host.FETCHING: "waiting for data",
    host.COLLATING: "collating",
    host.LAUNCHING: "in the model's stages",
    host.CONSUMING: "the consumer of results",
    host.OWN_STAGE: "other stages",
    host.UNSTAGED: "outside of all stages",
    host.UNKNOWN: "batches that lost their device times",
}


class Evidence(NamedTuple):
    """One statement and its figure."""

    statement: str
    figure: str


def device_evidence(seen: Observation, losses: Losses, mfu: float | None) -> Iterator[Evidence]:
    """What device times, GPM and NVML say of the window, beside the gaps."""
    yield _window(seen)
    if seen.busy_share is not None:
        yield Evidence("device busy", percent(seen.busy_share))
    if losses.launch_bound_share is not None:
        yield Evidence("batches in which the device ended with the host", percent(losses.launch_bound_share))
    if losses.waiting_share:
        yield Evidence("batches after which the host waited with nothing queued", percent(losses.waiting_share))
    if losses.held_by:
        yield Evidence("stage that holds the host until the device is done", losses.held_by)
    if losses.copy_share:
        yield Evidence("device time in copies alone", percent(losses.copy_share))
    for unit, words in (("sm", "SM"), ("tensor", "tensor"), ("dram", "DRAM")):
        if (activity := getattr(seen.activity, unit)) is not None:
            yield Evidence(f"{words} activity", f"{activity:.2f}")
    for sign in losses.sharing:
        yield Evidence(sign.statement, sign.figure)
    if losses.slowdown is not None:
        yield from _clocks(losses.slowdown)
    if (rate := seen.flops_per_second) is not None:
        yield Evidence("model FLOP/s", f"{rate / 1e12:,.1f} TFLOP/s")
    if mfu is not None:
        yield Evidence("MFU, of the calibrated ceiling", percent(mfu))
    missing = len(seen.batches) - len(seen.launches)
    if missing:
        yield Evidence("batches without device times", f"{missing:,} of {len(seen.batches):,}")


def host_evidence(spent: Mapping[str, float], seen: Observation, blind: str) -> Iterator[Evidence]:
    """What host times alone say, and what they cannot.

    Args:
        spent: share of the window by host activity.
        seen: the run.
        blind: why there are no device times.
    """
    yield _window(seen)
    for activity, share in sorted(spent.items(), key=lambda item: -item[1]):
        yield Evidence(f"host: {_HOST_WORDS[activity]}", percent(share))
    yield Evidence("device", f"not measured ({blind})")


def _window(seen: Observation) -> Evidence:
    part = "after warm-up" if seen.steady else "the whole run, too short to leave warm-up out"
    return Evidence("looked at", f"{len(seen.batches):,} batches, {seen.window_ns / 1e9:.3f} s ({part})")


def _clocks(slow: Slowdown) -> Iterator[Evidence]:
    if slow.median_clock_mhz is not None:
        limit = "" if slow.max_clock_mhz is None else f" of {slow.max_clock_mhz:,}"
        yield Evidence("SM clock, median", f"{slow.median_clock_mhz:,.0f}{limit} MHz")
    for reason, share in slow.shares.items():
        normal = " (normal at full load)" if reason == "sw_power_cap" and not slow.lost_share else ""
        yield Evidence(f"clocks held down by {reason}", f"{percent(share)} of the time{normal}")
