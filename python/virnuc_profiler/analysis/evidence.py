# SPDX-License-Identifier: MIT
"""The figures that a diagnosis stands on, as statements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from virnuc_profiler.analysis import host_activity as host
from virnuc_profiler.analysis.advice import percent
from virnuc_profiler.analysis.losses import Losses
from virnuc_profiler.analysis.observation import Observation
from virnuc_profiler.analysis.throttling import Slowdown

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
