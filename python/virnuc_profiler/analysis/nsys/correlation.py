# SPDX-License-Identifier: MIT
"""Comparison of a run with a capture of it: the work that stages launched, and how well device intervals agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from virnuc_profiler.analysis.diagnosis.observation import observe
from virnuc_profiler.analysis.nsys.gpu_capture import GpuCapture
from virnuc_profiler.analysis.nsys.projection import Projection
from virnuc_profiler.analysis.nsys.range_matching import ClockAgreement, MatchedStage, StageCounts, match_stages
from virnuc_profiler.analysis.nsys.totals import RangeTotal, range_total
from virnuc_profiler.analysis.timing.interval_columns import clip, length
from virnuc_profiler.analysis.timing.statistics import percentile
from virnuc_profiler.telemetry.number_text import counted
from virnuc_profiler.telemetry.run_result import RunResult

AGREEMENT_SHARE: Final = 0.01
AGREEMENT_NS: Final = 20_000
"""Two measurements of a stage agree if they differ by at most 1 % of the span, or 20 µs if that is more."""

SAME_START_NS: Final = 60e9
"""Largest difference between the UTC start times of one run. The clock may have been set, or the run started slowly."""


@dataclass(frozen=True, slots=True)
class StageComparison:
    """One stage of one batch in the run and in the capture. Times are None if one of the two lacks device times.

    The device interval lasts from the start event to the end event. Unless the stage's kernels time themselves, it
    begins before the first operation by the time spent waiting for that operation; `start_difference_ns` and
    `end_difference_ns` locate a difference.

    Attributes:
        batch: Index of the batch, which is the payload of the range.
        projection: Projection of the range onto the GPU.
        host_ns: Duration of the stage on the host.
        device_ns: Device interval of the stage in the run.
        difference_ns: Device interval minus the span of the projection.
        start_difference_ns: Start event minus the start of the first operation on aligned clocks; negative if the event
            fired first.
        end_difference_ns: End event minus the end of the last operation on aligned clocks.
        clock_offset_ns: Clock of the capture minus clock of the run at this batch, used to align them.
    """

    batch: int
    projection: Projection
    host_ns: int
    device_ns: int | None
    difference_ns: int | None
    start_difference_ns: int | None
    end_difference_ns: int | None
    clock_offset_ns: int

    @property
    def agrees(self) -> bool | None:
        """Whether the two measurements agree; None if one is missing."""
        span_ns = self.projection.span_ns
        if self.difference_ns is None or span_ns is None:
            return None
        return abs(self.difference_ns) <= max(AGREEMENT_SHARE * span_ns, AGREEMENT_NS)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of device intervals with the spans of the projections, over the batches that have both.

    Attributes:
        batches: Number of batches that have both.
        share_within: Share of these batches whose measurements agree, 0 to 1.
        median_difference_ns: Median of device interval minus span.
        worst_difference_ns: Difference with the largest absolute value, signed.
        worst_batch: Index of the batch with that difference.
        median_start_difference_ns: Median of start event minus start of the first operation.
        median_end_difference_ns: Median of end event minus end of the last operation.
    """

    batches: int
    share_within: float
    median_difference_ns: float
    worst_difference_ns: int
    worst_batch: int
    median_start_difference_ns: float | None
    median_end_difference_ns: float | None


@dataclass(frozen=True, slots=True)
class StageCorrelation:
    """One stage with its matched ranges.

    Attributes:
        name: Name of the stage.
        counts: Numbers of stages and ranges.
        total: Total of the matched ranges on the GPU.
        median_device_ns: Median device interval in the run; None without device times.
        agreement: Agreement of run and capture; None if nothing can be compared.
        batches: Comparison of each batch.
    """

    name: str
    counts: StageCounts
    total: RangeTotal
    median_device_ns: float | None
    agreement: Agreement | None
    batches: tuple[StageComparison, ...]


@dataclass(frozen=True, slots=True)
class BusyShares:
    """Two measurements of the device's load, 0 to 1, in the same window.

    Attributes:
        window_ns: Length of the window, the steady part of the run.
        intervals: Share in device stages: an upper bound, because gaps between the kernels of a stage count.
        operations: Busy share by the capture: the union of the operations that the stages launched, without such gaps.
    """

    window_ns: int
    intervals: float
    operations: float


@dataclass(frozen=True, slots=True)
class Correlation:
    """A run compared with a capture of it.

    Attributes:
        stages: Stages that occur in the run or in the capture, in the order of the run.
        clock: Relation of the two clocks; None if nothing was matched.
        busy: Busy share of the device in the steady part of the run, from both; None if one lacks device times.
        batches_in_run: Number of batches in the run.
        batches_in_capture: Number of different payloads in the ranges of the stages.
        batches_matched: Number of batches with at least one matched stage.
        stages_in_both: Number of stages that could be matched by name and payload.
    """

    stages: tuple[StageCorrelation, ...]
    clock: ClockAgreement | None
    busy: BusyShares | None
    batches_in_run: int
    batches_in_capture: int
    batches_matched: int
    stages_in_both: int


def correlate(run: RunResult, projections: Iterable[Projection], domain: str) -> Correlation:
    """Compare a run with the ranges of its domain.

    Args:
        run: Run to compare.
        projections: Projections of the ranges of `domain`. Ranges that are not stages of the run are ignored.
        domain: Name of the NVTX domain.
    """
    known = [projection for projection in projections if projection.range.name in run.stage_names]
    matching = match_stages(run, known)
    offsets = _offset_by_batch(matching.pairs)
    by_stage: dict[str, list[StageComparison]] = {name: [] for name in matching.counts}
    for pair in matching.pairs:
        by_stage[pair.stage.name].append(_compare(pair, offsets[pair.batch]))
    stages = tuple(_stage(domain, name, matching.counts[name], batches) for name, batches in by_stage.items())
    payloads = {projection.range.payload for projection in known} - {None}
    busy = busy_shares(run, matching.pairs, matching.clock)
    return Correlation(stages, matching.clock, busy, len(run.batches), len(payloads), len(offsets), matching.in_both)


def mismatch_reason(run: RunResult, capture: GpuCapture, correlation: Correlation) -> str:
    """Return why a run and a capture do not belong together; empty if they seem to.

    Args:
        run: The run.
        capture: The capture.
        correlation: Comparison of the two.
    """
    matched = sum(stage.counts.matched for stage in correlation.stages)
    if correlation.clock is None or not matched:
        return "no stage and batch index of the run occurs in the capture"
    if 2 * matched < correlation.stages_in_both:
        return (
            f"{counted(correlation.stages_in_both, 'stage occurs', 'stages occur')} in both, but no constant offset "
            f"between the clocks fits more than {matched:,} of them"
        )
    apart_ns = _starts_apart_ns(run, capture, correlation.clock.offset_ns)
    if apart_ns is not None and apart_ns > SAME_START_NS:
        return f"by their UTC times they are {apart_ns / 1e9:,.0f} s apart"
    return ""


def busy_shares(run: RunResult, pairs: Iterable[MatchedStage], clock: ClockAgreement | None) -> BusyShares | None:
    """Return both shares; None if the run has no steady part, or if it or the capture lacks device times.

    Args:
        run: The run.
        pairs: Stages of the run with their ranges.
        clock: Relation of the two clocks; None if nothing was matched.
    """
    operations = [operation for pair in pairs for operation in pair.projection.operations]
    observation = observe(run)
    if clock is None or not operations or not observation.steady or observation.stage_share is None:
        return None
    starts = np.array([operation.start_ns for operation in operations])
    ends = np.array([operation.end_ns for operation in operations])
    offset_ns = round(clock.offset_ns)
    window = observation.window[0] + offset_ns, observation.window[1] + offset_ns
    return BusyShares(
        observation.window_ns, observation.stage_share, length(*clip(starts, ends, window)) / observation.window_ns
    )


def _starts_apart_ns(run: RunResult, capture: GpuCapture, offset_ns: float) -> float | None:
    """Return the difference between the UTC start times of run and capture; None if they are unknown."""
    if capture.utc_epoch_ns is None:
        return None
    try:
        started = datetime.fromisoformat(run.started_at.replace("Z", "+00:00"))
    except ValueError:
        return None
    return abs(capture.utc_epoch_ns + run.host_start_ns + offset_ns - started.timestamp() * 1e9)


def _offset_by_batch(pairs: Sequence[MatchedStage]) -> dict[int, int]:
    """Return the clock offset at each batch, which accounts for drift: the smallest offset of its stages.

    A range begins after the run's clock was read, so each offset is too large by the time between the two.
    """
    offsets: dict[int, int] = {}
    for pair in pairs:
        offsets[pair.batch] = min(pair.clock_offset_ns, offsets.get(pair.batch, pair.clock_offset_ns))
    return offsets


def _compare(pair: MatchedStage, offset_ns: int) -> StageComparison:
    stage, projection = pair.stage, pair.projection
    device_ns, span_ns = stage.device_ns, projection.span_ns
    return StageComparison(
        batch=pair.batch,
        projection=projection,
        host_ns=stage.host_ns,
        device_ns=device_ns,
        difference_ns=None if device_ns is None or span_ns is None else device_ns - span_ns,
        start_difference_ns=_difference(stage.device_start_ns, projection.start_ns, offset_ns),
        end_difference_ns=_difference(stage.device_end_ns, projection.end_ns, offset_ns),
        clock_offset_ns=offset_ns,
    )


def _difference(ours_ns: int | None, theirs_ns: int | None, offset_ns: int) -> int | None:
    return None if ours_ns is None or theirs_ns is None else ours_ns + offset_ns - theirs_ns


def _stage(domain: str, name: str, counts: StageCounts, batches: Sequence[StageComparison]) -> StageCorrelation:
    return StageCorrelation(
        name=name,
        counts=counts,
        total=range_total(domain, name, [comparison.projection for comparison in batches]),
        median_device_ns=percentile((comparison.device_ns for comparison in batches), 50),
        agreement=_agreement(batches),
        batches=tuple(batches),
    )


def _agreement(batches: Sequence[StageComparison]) -> Agreement | None:
    both = [(comparison.difference_ns, comparison) for comparison in batches if comparison.difference_ns is not None]
    median_ns = percentile((difference for difference, _ in both), 50)
    if median_ns is None:
        return None
    worst_ns, worst = max(both, key=lambda pair: abs(pair[0]))
    return Agreement(
        batches=len(both),
        share_within=sum(comparison.agrees is True for _, comparison in both) / len(both),
        median_difference_ns=median_ns,
        worst_difference_ns=worst_ns,
        worst_batch=worst.batch,
        median_start_difference_ns=percentile((comparison.start_difference_ns for _, comparison in both), 50),
        median_end_difference_ns=percentile((comparison.end_difference_ns for _, comparison in both), 50),
    )
