# SPDX-License-Identifier: MIT
"""The sentences of a diagnosis: what it is, and the way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from virnuc_profiler.analysis.causes import (
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
    SYNCHRONISING,
    THROTTLING,
    WORDS,
)
from virnuc_profiler.analysis.losses import Losses

_SENTENCES: Final[Mapping[str, str]] = {
    DATA_LOADING: "The run is bound by data loading: {share} of its time goes into waiting for the loader. Use more "
    "workers (num_workers), or a faster source.",
    COLLATION: "The run is bound by collation: {share} of its time goes into tokenising and packing while nothing else "
    "is done. Encode in the workers, or use a faster collator.",
    LAUNCHING: "The run is bound by launching: {upto}{share} of its time the device waits for the host to launch the "
    "next kernel. Raise token_budget, so that each launch does more; torch.compile and CUDA graphs launch less. "
    "An .item() or a synchronise inside a stage looks like this too.",
    SYNCHRONISING: "The run is bound by synchronising: the host waits for the device{where}, and only then prepares "
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
    bounded = bound == LAUNCHING or (bound == SYNCHRONISING and losses.waits_inside)
    where = f" inside the stage {losses.held_by!r}" if losses.held_by else ""
    if bound == SYNCHRONISING and losses.waits_inside:
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
