# SPDX-License-Identifier: MIT
"""What a run is bound by, in plain words and with the evidence.

The rule: of everything that the run lost in its steady window (see ``losses``) the largest loss names the run, if it
is large enough to be worth anyone's time. If none is, the device was kept busy and nothing slowed it: the run is
healthy, and bound by the device's arithmetic or its memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from virnuc_profiler.analysis.diagnosis import host_activity as host
from virnuc_profiler.analysis.diagnosis.bottlenecks import (
    COLLATION,
    CONSUMING,
    COPYING,
    DATA_LOADING,
    DEVICE,
    DEVICE_ARITHMETIC,
    HOST_ARITHMETIC,
    MEMORY_BANDWIDTH,
    NOT_MEASURED,
    OTHER_HOST_WORK,
    SYNCHRONIzING,
)
from virnuc_profiler.analysis.diagnosis.gaps import CauseTotal
from virnuc_profiler.analysis.diagnosis.lost_time import MOSTLY, Losses, device_losses, host_losses
from virnuc_profiler.analysis.diagnosis.observation import Activity, Observation, observe
from virnuc_profiler.analysis.diagnosis.wording import (
    Evidence,
    device_evidence,
    further_sentence,
    healthy_sentence,
    host_evidence,
    sentence_for,
)
from virnuc_profiler.analysis.model_cost import DeviceCeiling, model_flops_utilization
from virnuc_profiler.telemetry.run_result import RunResult

_Number = TypeVar("_Number", int, float)
_LARGEST: Final = 1e30
"""Of what metadata say of a model or a device."""

NEGLIGIBLE: Final = 0.02
"""A healthy run may lose up to this share to one cause. Below lie the odd refill of a buffer and the noise between
runs: like configurations differ by about 2 %, so nobody could see the gain."""

NEGLIGIBLE_STRUCTURAL: Final = 0.005
"""For waits that occur at most batches. Their gap shows only part of what they cost: with an empty queue the next
batch's first launches lie bare too, inside the device interval, and every hiccup of the host reaches the device."""

NEGLIGIBLE_ON_HOST: Final = 0.05
"""Without device times: where the loader stops being ``full``, as for a batch."""

MEMORY_ACTIVITY: Final = 0.6
"""DRAM that is active for 60 % of the time is near what real kernels reach (80 to 90 %), latencies included."""

TENSOR_ACTIVITY: Final = 0.3
"""With tensor cores this active, matrix products set the pace, whatever the memory does beside."""

MISSING_TIMES: Final = 0.5
"""With fewer batches timed than this share, gaps say nothing."""


@dataclass(frozen=True)
class Diagnosis:
    """What a run is bound by.

    Attributes:
        bound: one of the names in ``causes``; ``not_measured`` if it cannot be told.
        healthy: the device is kept busy and nothing slows it. Never True where that was not measured.
        sentence: the verdict with the way out.
        evidence: statements with their figures.
        further: other findings, the most costly first.
        window_ns: length of the window that was looked at.
        steady: whether it is the part after warm-up; else the whole run.
        busy_share: of the window; None without device times.
        mfu: of the window; None without model shape or ceiling.
        losses: shares of the window by cause.
        gaps: of the window by cause, the largest first.
    """

    bound: str
    healthy: bool
    sentence: str
    evidence: tuple[Evidence, ...] = ()
    further: tuple[str, ...] = ()
    window_ns: int = 0
    steady: bool = False
    busy_share: float | None = None
    mfu: float | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    gaps: tuple[CauseTotal, ...] = ()


def diagnose(
    run: RunResult,
    *,
    layers: int | None = None,
    hidden: int | None = None,
    ceiling: float | None = None,
    ceiling_sm_clock_mhz: float | None = None,
) -> Diagnosis:
    """Says what a run is bound by.

    Args:
        run: the run.
        layers: of the model; with `hidden` and packing statistics the work of a batch is known in FLOPs.
        hidden: the model's width.
        ceiling: FLOP/s that a large matrix product reaches on this device in this precision.
        ceiling_sm_clock_mhz: the SM clock at which it does; with it a shared device is told more surely.
    """
    seen = observe(run, layers, hidden)
    known = DeviceCeiling(ceiling, ceiling_sm_clock_mhz)
    return diagnose_observation(seen, run, layers=layers, hidden=hidden, ceiling=known)


def diagnose_saved(run: RunResult) -> Diagnosis:
    """:func:`diagnose` with what a run's metadata keep of its model and its device's ceiling."""
    kept = run.metadata.get("model_arithmetic")
    arithmetic = kept if isinstance(kept, Mapping) else {}
    return diagnose(
        run,
        layers=_positive(arithmetic.get("layers"), int),
        hidden=_positive(arithmetic.get("hidden"), int),
        ceiling=_positive(arithmetic.get("ceiling_flops_per_second"), float),
        ceiling_sm_clock_mhz=_positive(arithmetic.get("ceiling_sm_clock_mhz"), float),
    )


def _positive(value: Any, kind: type[_Number]) -> _Number | None:
    """A number out of metadata, which may hold anything; None if it is none that can be reckoned with."""
    return kind(value) if type(value) in (int, kind) and 0 < value < _LARGEST else None


def diagnose_observation(
    seen: Observation,
    run: RunResult,
    *,
    layers: int | None = None,
    hidden: int | None = None,
    ceiling: DeviceCeiling,
) -> Diagnosis:
    """:func:`diagnose` for a run that has been looked at already."""
    if not seen.batches or not seen.window_ns:
        reason = "what was recorded took no time" if seen.batches else "no batch was recorded"
        return Diagnosis(NOT_MEASURED, False, f"Nothing can be said: {reason}.")
    on_host = len(seen.launches) < MISSING_TIMES * len(seen.batches) or not seen.gaps.busy
    found = _from_host_times(seen, run) if on_host else _from_device_times(seen, layers, hidden, ceiling)
    return found if seen.steady else replace(found, sentence=f"{found.sentence} {_too_short(len(seen.batches))}")


def _too_short(batches: int) -> str:
    few = "1 batch is" if batches == 1 else f"{batches:,} batches are"
    return f"(Start-up included, for {few} too few to leave it out: use more sequences.)"


def _from_device_times(seen: Observation, layers: int | None, hidden: int | None, ceiling: DeviceCeiling) -> Diagnosis:
    losses = device_losses(seen, layers, hidden, ceiling)
    ranked = _worth_naming(losses)
    bound = ranked[0] if ranked else _device_bound(seen.activity)
    seconds = seen.window_ns / 1e9
    mfu = None if seen.flops is None else model_flops_utilization(seen.flops, seconds, ceiling.flops_per_second)
    return Diagnosis(
        bound=bound,
        healthy=not ranked,
        sentence=sentence_for(bound, losses) if ranked else healthy_sentence(bound, seen.busy_share or 0.0),
        evidence=tuple(device_evidence(seen, losses, mfu)),
        further=tuple(further_sentence(cause, losses.shares[cause]) for cause in ranked[1:]),
        window_ns=seen.window_ns,
        steady=seen.steady,
        busy_share=seen.busy_share,
        mfu=mfu,
        losses=losses.shares,
        gaps=tuple(seen.gaps.totals()),
    )


def _worth_naming(losses: Losses) -> list[str]:
    """Causes that cost enough to be named, the most costly first."""
    structural = losses.waiting_share >= MOSTLY

    def allowed(cause: str) -> float:
        return NEGLIGIBLE_STRUCTURAL if structural and cause in (SYNCHRONIzING, COPYING) else NEGLIGIBLE

    named = [cause for cause, share in losses.shares.items() if share >= allowed(cause)]
    return sorted(named, key=lambda cause: (-losses.shares[cause], cause))


def _device_bound(activity: Activity) -> str:
    if activity.dram is None and activity.tensor is None:
        return DEVICE
    starved_of_memory = (activity.dram or 0.0) >= MEMORY_ACTIVITY and (activity.tensor or 0.0) < TENSOR_ACTIVITY
    return MEMORY_BANDWIDTH if starved_of_memory else DEVICE_ARITHMETIC


_HOST_CAUSES: Final = {
    host.FETCHING: DATA_LOADING,
    host.COLLATING: COLLATION,
    host.CONSUMING: CONSUMING,
    host.OWN_STAGE: OTHER_HOST_WORK,
    host.UNSTAGED: OTHER_HOST_WORK,
}


def _from_host_times(seen: Observation, run: RunResult) -> Diagnosis:
    """What host times alone can say: waiting for data and packing can be seen, the device cannot."""
    on_cpu = not run.device.timed and run.device.uuid is None
    spent = host_losses(seen)
    losses: dict[str, float] = {}
    for activity, cause in _HOST_CAUSES.items():
        losses[cause] = losses.get(cause, 0.0) + spent.get(activity, 0.0)
    if not on_cpu:  # a wait for the device lies outside of the stages: no sign of anything lost
        losses.pop(OTHER_HOST_WORK)
    ranked = _ranked_on_host(losses)
    bound = ranked[0] if ranked else HOST_ARITHMETIC if on_cpu else NOT_MEASURED
    blind = run.device.reason or "most batches have no device times"
    return Diagnosis(
        bound=bound,
        healthy=False,
        sentence=_host_sentence(bound, losses, on_cpu=on_cpu),
        evidence=tuple(host_evidence(spent, seen, blind)),
        further=tuple(further_sentence(cause, losses[cause]) for cause in ranked[1:]),
        window_ns=seen.window_ns,
        steady=seen.steady,
        losses={cause: share for cause, share in losses.items() if share > 0},
    )


def _ranked_on_host(losses: Mapping[str, float]) -> Sequence[str]:
    named = [cause for cause, share in losses.items() if share >= NEGLIGIBLE_ON_HOST]
    return sorted(named, key=lambda cause: (-losses[cause], cause))


def _host_sentence(bound: str, losses: Mapping[str, float], *, on_cpu: bool) -> str:
    if bound in losses:
        return sentence_for(bound, Losses(losses))
    if on_cpu:
        return healthy_sentence(HOST_ARITHMETIC, 0.0)
    return "The host does not wait for data; whether the device was kept busy was not measured."
