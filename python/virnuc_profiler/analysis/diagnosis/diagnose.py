# SPDX-License-Identifier: MIT
"""The bottleneck of a run, in plain words and with its evidence.

The cause to which the steady window lost most time (see ``lost_time``) is the bottleneck, unless that time is
negligible. If it is, the device was in its stages and nothing slowed it down: the run is healthy, and bound by the
device's arithmetic or memory bandwidth. Start-up, which the window excludes, is part of the verdict if it took a
considerable share of the run. A run without a steady window is too short for a diagnosis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

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
    SYNCHRONIZING,
)
from virnuc_profiler.analysis.diagnosis.evidence import Evidence, device_evidence, host_evidence
from virnuc_profiler.analysis.diagnosis.gaps import GAP_CAUSES, CauseTotal
from virnuc_profiler.analysis.diagnosis.host_limits import host_changes
from virnuc_profiler.analysis.diagnosis.lost_time import (
    TYPICAL_SHARE,
    LostTime,
    device_lost_time,
    host_activity_shares,
)
from virnuc_profiler.analysis.diagnosis.observation import Activity, Observation, observe
from virnuc_profiler.analysis.diagnosis.start_up import CONSIDERABLE_SHARE, StartUp
from virnuc_profiler.analysis.diagnosis.start_up_wording import before_sentence, start_up_sentence
from virnuc_profiler.analysis.diagnosis.wording import (
    bottleneck_sentence,
    further_sentence,
    healthy_sentence,
    host_healthy_sentence,
    tail_sentence,
    too_short_sentence,
)
from virnuc_profiler.analysis.model_cost import (
    DeviceCeiling,
    ModelShape,
    model_flops_utilization,
    recorded_ceiling,
    recorded_shape,
)
from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.telemetry.run_result import RunResult

MAX_MOVED_BATCHES: Final = 100_000
"""Number of batches up to which the effect of the clocks' error is computed on the whole run. The error is the same in
every batch, so that a part of a longer run shows it as well."""

NEGLIGIBLE: Final = 0.02
"""A healthy run may lose up to this share of its time to one cause. Refilled buffers and noise stay below it: repeated
runs differ by about 2 %, so a smaller gain could not be observed."""

NEGLIGIBLE_STRUCTURAL: Final = 0.005
"""The same limit for waits that occur at most batches. Their gaps show only part of their cost: with an empty queue the
first launches of the next batch are exposed inside its device interval, and each delay of the host reaches the device.
"""

NEGLIGIBLE_ON_HOST: Final = 0.05
"""The same limit without device times; also where the queue state of a batch stops being ``full``."""

MEMORY_ACTIVITY: Final = 0.6
"""DRAM that is active for 60 % of the time is near the limit of real kernels, 80 to 90 % including latencies."""

TENSOR_ACTIVITY: Final = 0.3
"""Tensor cores that are this active set the pace, regardless of memory traffic."""

MIN_TIMED_SHARE: Final = 0.5
"""If a smaller share of the batches has device times, gaps are meaningless."""

_HOST_CAUSES: Final = {
    host.FETCHING: DATA_LOADING,
    host.COLLATING: COLLATION,
    host.CONSUMING: CONSUMING,
    host.UNSTAGED: OTHER_HOST_WORK,
}
"""Causes of the host's activities. On the CPU, the model runs in the other stages, whatever their names are."""


@dataclass(frozen=True)
class Diagnosis:
    """The bottleneck of a run.

    Attributes:
        bottleneck: One of the names in ``bottlenecks``: the cause to which the window lost most time, or what sets the
            pace of a run that loses none; ``not_measured`` if it cannot be determined.
        healthy: Whether device stages cover the window and nothing slows them down. Never True if that was not
            measured.
        sentence: Verdict with a suggested remedy, including a considerable start-up.
        evidence: Statements and their figures.
        further: Sentences on other causes of lost time, the largest first.
        window_ns: Length of the window that was analyzed.
        steady: Whether the window is the part after warm-up instead of the whole run.
        stage_share: Share of the window in which the device was in a stage: at most this share it was busy, because
            stages can include waits for launches. None without device times.
        timestamped_share: Share of the window in stages that the device timed itself, which include no such waits;
            None without such stages.
        mfu: Model FLOPs utilization in the window; None without the model's shape or the device's ceiling.
        lost_time: Shares of the window by cause.
        gaps: Device gaps of the window by cause, the largest first.
        start_up: The run until its batches reached their pace; None without batches.
    """

    bottleneck: str
    healthy: bool
    sentence: str
    evidence: tuple[Evidence, ...] = ()
    further: tuple[str, ...] = ()
    window_ns: int = 0
    steady: bool = False
    stage_share: float | None = None
    timestamped_share: float | None = None
    mfu: float | None = None
    lost_time: Mapping[str, float] = field(default_factory=dict)
    gaps: tuple[CauseTotal, ...] = ()
    start_up: StartUp | None = None


def diagnose_run(run: RunResult, *, shape: ModelShape | None = None, ceiling: DeviceCeiling | None = None) -> Diagnosis:
    """Determine the bottleneck of a run.

    Args:
        run: Run to diagnose.
        shape: Shape of the model, from which the FLOPs of batches with packing statistics follow. By default it is
            taken from the run's metadata, where the sweep and the command line keep it.
        ceiling: Ceiling of the device in the precision of the run, which gives ``mfu`` and makes contention easier to
            detect. By default it is taken from the run's metadata.
    """
    observation = observe(run, recorded_shape(run.metadata) if shape is None else shape)
    return diagnose_observation(observation, run, recorded_ceiling(run.metadata) if ceiling is None else ceiling)


def diagnose_observation(observation: Observation, run: RunResult, ceiling: DeviceCeiling) -> Diagnosis:
    """Determine the bottleneck of a run from its measurements.

    Args:
        observation: Measurements of the run.
        run: The run.
        ceiling: Ceiling of the device.
    """
    batches = observation.batch_count
    if not batches or not observation.window_ns:
        reason = "the recorded work took no time" if batches else "no batch was recorded"
        return Diagnosis(NOT_MEASURED, False, f"No diagnosis: {reason}.")
    on_host = len(observation.launches) < MIN_TIMED_SHARE * batches or not observation.gaps.known
    found = _from_host_times(observation, run) if on_host else _from_device_times(observation, run, ceiling)
    if not observation.steady:
        found = _too_short(found, observation)
        found = replace(found, **host_changes(found, run))
    else:
        found = replace(found, **host_changes(found, run))
        found = replace(found, sentence=_with_start_up(found))
    start_up = found.start_up
    if start_up is not None and start_up.long_before:
        found = replace(found, further=(*found.further, before_sentence(start_up)))
    return replace(found, sentence=_with_tail(found, observation, run))


def _with_tail(found: Diagnosis, observation: Observation, run: RunResult) -> str:
    """Return the verdict with a considerable time after the last batch, which no window contains."""
    run_ns = run.host_end_ns - run.host_start_ns
    if observation.tail_ns < CONSIDERABLE_SHARE * run_ns:
        return found.sentence
    return f"{found.sentence} {tail_sentence(observation.tail_ns, run_ns)}"


def _too_short(found: Diagnosis, observation: Observation) -> Diagnosis:
    """Return what remains of a diagnosis if start-up and warm-up cannot be separated from the rest of the run."""
    sentence = too_short_sentence(observation, host_activity_shares(observation))
    return replace(found, bottleneck=NOT_MEASURED, healthy=False, sentence=sentence, further=(), lost_time={})


def _with_start_up(found: Diagnosis) -> str:
    """Return the verdict with a considerable start-up: in front of it if start-up cost more than anything after it."""
    start_up = found.start_up
    if start_up is None or not start_up.considerable:
        return found.sentence
    later_ns = found.window_ns * max(found.lost_time.values(), default=0.0)
    sentences = [found.sentence, start_up_sentence(start_up, found.bottleneck)]
    return " ".join(sentences if later_ns >= start_up.cost_ns else reversed(sentences))


def _from_device_times(observation: Observation, run: RunResult, ceiling: DeviceCeiling) -> Diagnosis:
    lost_time = device_lost_time(observation, ceiling)
    causes = _worth_naming(lost_time)
    ranked = () if _within_clock_error(causes, observation, run, ceiling) else causes
    bottleneck = ranked[0] if ranked else _device_bottleneck(observation.activity)
    seconds, flops = observation.window_ns / 1e9, observation.flops
    mfu = None if flops is None else model_flops_utilization(flops, seconds, ceiling)
    uncertain = () if ranked else causes
    if ranked:
        sentence = bottleneck_sentence(bottleneck, lost_time)
    else:
        sentence = healthy_sentence(bottleneck, observation, uncertain=bool(uncertain))
    return Diagnosis(
        bottleneck=bottleneck,
        healthy=not ranked,
        sentence=sentence,
        evidence=tuple(device_evidence(observation, lost_time, mfu, uncertain)),
        further=tuple(further_sentence(cause, lost_time.shares[cause]) for cause in ranked[1:]),
        window_ns=observation.window_ns,
        steady=observation.steady,
        stage_share=observation.stage_share,
        timestamped_share=observation.timestamped_share,
        mfu=mfu,
        lost_time=lost_time.shares,
        gaps=tuple(observation.gaps.totals()),
        start_up=observation.start_up,
    )


def _within_clock_error(
    causes: Sequence[str], observation: Observation, run: RunResult, ceiling: DeviceCeiling
) -> bool:
    """Whether no cause would be worth naming if all device times were off by their stated error, one way or the other.

    Some causes follow from comparing device times with host times, and a small error of their alignment can lift them
    above a threshold in every batch.
    """
    error_ns = observation.clock_error_ns
    if not causes or not error_ns or not observation.steady:
        return False
    idle_ns = sum(line.total_ns for line in observation.gaps.totals() if line.cause != NOT_MEASURED)
    if idle_ns >= len(GAP_CAUSES) * NEGLIGIBLE * observation.window_ns:
        return False  # the clocks do not change the length of gaps, so at least one of their causes is worth naming
    part = _middle(run)
    if part is not run and not _names_causes(observe(part, observation.shape), ceiling):
        return False  # the part does not stand for the run
    return any(
        not _names_causes(observe(part, observation.shape, device_later_ns=later_ns), ceiling)
        for later_ns in (error_ns, -error_ns)
    )


def _names_causes(observation: Observation, ceiling: DeviceCeiling) -> bool:
    """Whether a cause would be worth naming; assumed where no batch has device times."""
    return not len(observation.launches) or bool(_worth_naming(device_lost_time(observation, ceiling)))


def _middle(run: RunResult) -> RunResult:
    """Return the batches in the middle of a very long run: each further observation of it takes 1 kB a batch."""
    left_out = len(run.batches) - MAX_MOVED_BATCHES
    if left_out <= 0:
        return run
    batches = run.batches[left_out // 2 : left_out // 2 + MAX_MOVED_BATCHES]
    start_ns = int(batches.columns["host_start_ns"].min())
    return replace(run, batches=batches, host_start_ns=start_ns, host_end_ns=int(completions_of(batches).at_ns.max()))


def _worth_naming(lost_time: LostTime) -> list[str]:
    """Return the causes whose loss is not negligible, the largest first."""
    structural = lost_time.waiting_share >= TYPICAL_SHARE

    def negligible(cause: str) -> float:
        return NEGLIGIBLE_STRUCTURAL if structural and cause in (SYNCHRONIZING, COPYING) else NEGLIGIBLE

    named = [cause for cause, share in lost_time.shares.items() if share >= negligible(cause)]
    return sorted(named, key=lambda cause: (-lost_time.shares[cause], cause))


def _device_bottleneck(activity: Activity) -> str:
    if activity.dram is None and activity.tensor is None:
        return DEVICE
    memory_bound = (activity.dram or 0.0) >= MEMORY_ACTIVITY and (activity.tensor or 0.0) < TENSOR_ACTIVITY
    return MEMORY_BANDWIDTH if memory_bound else DEVICE_ARITHMETIC


def _from_host_times(observation: Observation, run: RunResult) -> Diagnosis:
    """Diagnose from host times alone, which show waits for data and packing but not the device."""
    on_cpu = not run.device.timed and run.device.uuid is None
    spent = host_activity_shares(observation)
    shares: dict[str, float] = {}
    for activity, cause in _HOST_CAUSES.items():
        shares[cause] = spent.get(activity, 0.0)
    if not on_cpu:  # time outside of all stages may be a wait for a busy device, which loses nothing
        shares.pop(OTHER_HOST_WORK)
    ranked = _ranked_on_host(shares)
    bottleneck = ranked[0] if ranked else HOST_ARITHMETIC if on_cpu else NOT_MEASURED
    reason = run.device.reason or "most batches have no device times"
    return Diagnosis(
        bottleneck=bottleneck,
        healthy=False,
        sentence=_host_sentence(bottleneck, shares, spent, on_cpu=on_cpu),
        evidence=tuple(host_evidence(spent, observation, reason)),
        further=tuple(further_sentence(cause, shares[cause]) for cause in ranked[1:]),
        window_ns=observation.window_ns,
        steady=observation.steady,
        lost_time={cause: share for cause, share in shares.items() if share > 0},
        start_up=observation.start_up,
    )


def _ranked_on_host(shares: Mapping[str, float]) -> Sequence[str]:
    named = [cause for cause, share in shares.items() if share >= NEGLIGIBLE_ON_HOST]
    return sorted(named, key=lambda cause: (-shares[cause], cause))


def _host_sentence(bottleneck: str, shares: Mapping[str, float], spent: Mapping[str, float], *, on_cpu: bool) -> str:
    if bottleneck in shares:
        return bottleneck_sentence(bottleneck, LostTime(shares), device=False)
    if on_cpu:
        return host_healthy_sentence(spent.get(host.LAUNCHING, 0.0) + spent.get(host.OWN_STAGE, 0.0))
    return "The host does not wait for data. Whether the device was busy was not measured."
