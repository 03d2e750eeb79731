# SPDX-License-Identifier: MIT
"""Matching of NVTX ranges with the stages of a run, and the relation of the two clocks.

Name and payload identify a stage, unless a payload occurs more than once: the warm-up and other runs of the process use
the same batch indices. In that case time decides. Each stage and each range with its name and payload give one
candidate for the clock offset. Most candidates agree on the true offset, because pairs from different runs differ by
the time between the runs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from virnuc_profiler.analysis.nsys.projection import Projection
from virnuc_profiler.analysis.timing.statistics import percentile
from virnuc_profiler.telemetry.records import StageRecord
from virnuc_profiler.telemetry.run_result import RunResult

SAME_MOMENT_NS: Final = 1_000_000
"""Largest time between the start of a stage and of its range: the thread may be preempted between the two."""

DRIFT_ALLOWANCE: Final = 50e-6
"""Largest relative drift between the clocks. NTP adjusts the host's clock by some millionths, rarely by tens."""

Key = tuple[str, int]
"""Name of the stage and index of the batch."""


@dataclass(frozen=True, slots=True)
class MatchedStage:
    """A stage of a batch with its range.

    Attributes:
        batch: Index of the batch.
        stage: The stage.
        projection: Projection of its range.
    """

    batch: int
    stage: StageRecord
    projection: Projection

    @property
    def clock_offset_ns(self) -> int:
        """Clock of the capture minus clock of the run, according to this pair."""
        return self.projection.range.start_ns - self.stage.host_start_ns


@dataclass(frozen=True, slots=True)
class StageCounts:
    """Numbers of stages and ranges with one name.

    Attributes:
        in_run: Number of stages in the run.
        in_capture: Number of ranges in the capture.
        matched: Number of matched pairs.
        missing_in_capture: Number of stages without a range.
        missing_in_run: Number of ranges without a stage.
        repeated_in_run: Number of batch indices that occur more than once in the run.
        repeated_in_capture: Number of payloads that occur more than once in the capture.
    """

    in_run: int
    in_capture: int
    matched: int
    missing_in_capture: int
    missing_in_run: int
    repeated_in_run: int
    repeated_in_capture: int


@dataclass(frozen=True, slots=True)
class ClockAgreement:
    """Offset between the two clocks, and how constant it was during the run.

    Attributes:
        offset_ns: Median of clock of the capture minus clock of the run, over all pairs.
        deviation_p99_ns: 99th percentile of the pairs' distance from the median.
        deviation_max_ns: Largest distance from the median.
    """

    offset_ns: float
    deviation_p99_ns: float
    deviation_max_ns: float


@dataclass(frozen=True, slots=True)
class Matching:
    """Stages of a run matched with ranges of a capture.

    Attributes:
        pairs: Matched pairs in the order of the run.
        counts: Numbers by stage, for stages that occur in the run or in the capture.
        clock: Relation of the two clocks; None without pairs.
        in_both: Number of pairs that name and payload alone would allow.
    """

    pairs: tuple[MatchedStage, ...]
    counts: dict[str, StageCounts]
    clock: ClockAgreement | None
    in_both: int


def match_stages(run: RunResult, projections: Iterable[Projection]) -> Matching:
    """Match the stages of a run with ranges of the same name and payload.

    Args:
        run: Run whose stages to match.
        projections: Projections of the ranges. Ranges with other names or without a payload are ignored.
    """
    ours: dict[Key, list[StageRecord]] = {}
    for batch in run.batches:
        for stage in batch.stages:
            ours.setdefault((stage.name, batch.index), []).append(stage)
    theirs: dict[Key, list[Projection]] = {}
    for projection in projections:
        name, payload = projection.range.name, projection.range.payload
        if payload is not None and name in run.stage_names:
            theirs.setdefault((name, payload), []).append(projection)
    tolerance_ns = SAME_MOMENT_NS + DRIFT_ALLOWANCE * max(0, run.host_end_ns - run.host_start_ns)
    pairs = _pairs(ours, theirs, tolerance_ns)
    counts = {name: _counts(name, ours, theirs, pairs) for name in run.stage_names}
    return Matching(
        pairs=pairs,
        counts={name: count for name, count in counts.items() if count.in_run or count.in_capture},
        clock=_clock(pairs),
        in_both=sum(min(len(stages), len(theirs.get(key, ()))) for key, stages in ours.items()),
    )


def _pairs(
    ours: dict[Key, list[StageRecord]], theirs: dict[Key, list[Projection]], tolerance_ns: float
) -> tuple[MatchedStage, ...]:
    possible = [
        MatchedStage(key[1], stage, projection)
        for key, stages in ours.items()
        for stage in stages
        for projection in theirs.get(key, ())
    ]
    if not possible:
        return ()
    offset_ns = _densest([pair.clock_offset_ns for pair in possible], 2 * tolerance_ns)
    near = [pair for pair in possible if abs(pair.clock_offset_ns - offset_ns) <= tolerance_ns]
    taken: set[int] = set()
    chosen = []
    for pair in sorted(near, key=lambda pair: abs(pair.clock_offset_ns - offset_ns)):
        if not {id(pair.stage), id(pair.projection)} & taken:
            taken |= {id(pair.stage), id(pair.projection)}
            chosen.append(pair)
    return tuple(sorted(chosen, key=lambda pair: pair.stage.host_start_ns))


def _densest(values: Sequence[int], width: float) -> float:
    """Return the median of the values in the window of some width that contains the most values."""
    ordered = sorted(values)
    ends = [bisect_right(ordered, value + width) for value in ordered]
    at = max(range(len(ordered)), key=lambda first: ends[first] - first)
    inside = percentile(ordered[at : ends[at]], 50)
    assert inside is not None  # a window contains at least its first value
    return inside


def _counts(
    name: str, ours: dict[Key, list[StageRecord]], theirs: dict[Key, list[Projection]], pairs: Sequence[MatchedStage]
) -> StageCounts:
    in_run = [len(stages) for (stage, _), stages in ours.items() if stage == name]
    in_capture = [len(ranges) for (stage, _), ranges in theirs.items() if stage == name]
    matched = sum(pair.stage.name == name for pair in pairs)
    return StageCounts(
        in_run=sum(in_run),
        in_capture=sum(in_capture),
        matched=matched,
        missing_in_capture=sum(in_run) - matched,
        missing_in_run=sum(in_capture) - matched,
        repeated_in_run=sum(count > 1 for count in in_run),
        repeated_in_capture=sum(count > 1 for count in in_capture),
    )


def _clock(pairs: Sequence[MatchedStage]) -> ClockAgreement | None:
    offset_ns = percentile((pair.clock_offset_ns for pair in pairs), 50)
    if offset_ns is None:
        return None
    deviations = [abs(pair.clock_offset_ns - offset_ns) for pair in pairs]
    return ClockAgreement(offset_ns, percentile(deviations, 99) or 0.0, max(deviations))
