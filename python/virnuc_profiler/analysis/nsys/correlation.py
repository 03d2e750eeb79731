# SPDX-License-Identifier: MIT
"""A run beside a capture of it: what the stages launched, and how well our device intervals agree with that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from virnuc_profiler.analysis.diagnosis.observation import observe
from virnuc_profiler.analysis.nsys.gpu_records import GpuCapture
from virnuc_profiler.analysis.nsys.projection import Projection
from virnuc_profiler.analysis.nsys.range_matching import ClockAgreement, MatchedStage, StageCounts, match_stages
from virnuc_profiler.analysis.nsys.totals import RangeTotal, range_total
from virnuc_profiler.analysis.timing.interval_columns import clip, length
from virnuc_profiler.analysis.timing.statistics import percentile
from virnuc_profiler.telemetry.run_result import RunResult

AGREEMENT_SHARE: Final = 0.01
AGREEMENT_NS: Final = 20_000
"""Two measurements of a stage agree if they differ by no more than 1 % of the span, or 20 µs if that is more."""

SAME_START_NS: Final = 60e9
"""Further apart by UTC are different runs; nearer may be one whose clock was set meanwhile, or that began slowly."""


@dataclass(frozen=True, slots=True)
class StageComparison:
    """One stage of one batch, seen by both. Times in ns; None where one of them saw nothing on the device.

    Our interval goes from the moment the start event fires to the moment the end event does, so it begins before the
    first operation by what it had to be waited for, unless the stage's own kernels took its time:
    `start_difference_ns` and `end_difference_ns` say where a difference comes from.

    Attributes:
        batch: its index, the range's payload.
        projection: the range on the GPU.
        host_ns: the stage on the host.
        device_ns: our device interval.
        difference_ns: our device interval less the span of the projection.
        start_difference_ns: our start event less the start of the first operation, clocks aligned; negative if the
            event fired first.
        end_difference_ns: our end event less the end of the last operation.
        clock_offset_ns: the capture's clock less ours at this batch, by which the two were aligned.
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
        """Whether the two measurements agree; None if there are not two."""
        span_ns = self.projection.span_ns
        if self.difference_ns is None or span_ns is None:
            return None
        return abs(self.difference_ns) <= max(AGREEMENT_SHARE * span_ns, AGREEMENT_NS)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Our device intervals against the spans of the projections, over the batches that have both.

    Attributes:
        batches: that have both.
        share_within: of them agree, 0 to 1.
        median_difference_ns: signed, ours less theirs.
        worst_difference_ns: the furthest from 0, signed.
        worst_batch: where that was.
        median_start_difference_ns: see :class:`StageComparison`.
        median_end_difference_ns: alike.
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
    """One stage: its matched ranges on the GPU, batch by batch; `agreement` is None where nothing can be compared."""

    name: str
    counts: StageCounts
    total: RangeTotal
    median_device_ns: float | None
    agreement: Agreement | None
    batches: tuple[StageComparison, ...]


@dataclass(frozen=True, slots=True)
class Correlation:
    """A run and a capture of it.

    Attributes:
        stages: those that occur in one of the two, in the run's order.
        clock: how the clocks lay to each other; None if nothing was matched.
        busy: the device's busy share in the steady part of the run, by both; None if one of them has none.
        batches_in_run: how many.
        batches_in_capture: different payloads of the stages' ranges.
        batches_matched: batches of which at least one stage was matched.
        stages_in_both: stages that could have been matched by name and payload.
    """

    stages: tuple[StageCorrelation, ...]
    clock: ClockAgreement | None
    busy: BusyShares | None
    batches_in_run: int
    batches_in_capture: int
    batches_matched: int
    stages_in_both: int


def correlate(run: RunResult, projections: Iterable[Projection], domain: str) -> Correlation:
    """Compares a run with the ranges of its domain.

    Args:
        run: the run.
        projections: of the ranges of `domain`; those that are no stage of the run are left out.
        domain: its name.
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
    """Why run and capture are not of the same program run; empty if they seem to be."""
    matched = sum(stage.counts.matched for stage in correlation.stages)
    if correlation.clock is None or not matched:
        return "no stage and batch index of the run occurs in the capture"
    if 2 * matched < correlation.stages_in_both:
        return (
            f"{correlation.stages_in_both:,} stages occur in both, but no constant offset between the clocks fits "
            f"more than {matched:,} of them"
        )
    apart_ns = _starts_apart_ns(run, capture, correlation.clock.offset_ns)
    if apart_ns is not None and apart_ns > SAME_START_NS:
        return f"by their UTC times they are {apart_ns / 1e9:,.0f} s apart"
    return ""


def _starts_apart_ns(run: RunResult, capture: GpuCapture, offset_ns: float) -> float | None:
    """How far the run's start by UTC lies from where the capture has it; None if that is not known."""
    if capture.utc_epoch_ns is None:
        return None
    try:
        started = datetime.fromisoformat(run.started_at.replace("Z", "+00:00"))
    except ValueError:
        return None
    return abs(capture.utc_epoch_ns + run.host_start_ns + offset_ns - started.timestamp() * 1e9)


def _offset_by_batch(pairs: Sequence[MatchedStage]) -> dict[int, int]:
    """The clocks' difference at each batch, so that drift does no harm: the smallest that its stages show.

    A range begins after our reading of the clock by the time that lies between the two, which is never negative.
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


@dataclass(frozen=True, slots=True)
class BusyShares:
    """Two measurements of one share, 0 to 1, in one window of time.

    Attributes:
        window_ns: length of the window, the steady part of the run.
        intervals: union of our device intervals. A gap between two kernels of a stage counts as busy.
        operations: union of the operations that the stages launched. It does not.
    """

    window_ns: int
    intervals: float
    operations: float


def busy_shares(run: RunResult, pairs: Iterable[MatchedStage], clock: ClockAgreement | None) -> BusyShares | None:
    """Both shares; None where one of the two saw nothing on the device.

    Args:
        run: the run.
        pairs: its stages, and what the tracer has of them.
        clock: how the tracer's clock lies to ours.
    """
    operations = [operation for pair in pairs for operation in pair.projection.operations]
    seen = observe(run)
    if clock is None or not operations or seen.busy_share is None:
        return None
    starts = np.array([operation.start_ns for operation in operations])
    ends = np.array([operation.end_ns for operation in operations])
    offset_ns = round(clock.offset_ns)
    window = seen.window[0] + offset_ns, seen.window[1] + offset_ns
    return BusyShares(seen.window_ns, seen.busy_share, length(*clip(starts, ends, window)) / seen.window_ns)
