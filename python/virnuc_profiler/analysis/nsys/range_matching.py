# SPDX-License-Identifier: MIT
"""Which NVTX range is which stage of which batch, and how the two clocks lie to each other.

Stage and payload say it, unless a payload occurs more than once: a warm-up before the run has the same batch indices,
and so has every other run of the process. Then time decides. Each stage and each range of its name and payload give
one possible offset between the clocks; the right one is where most of these agree, since pairs of different runs lie
apart by whatever time passed between them.
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
"""A range and a stage that begin so far apart can be the same: the thread may be preempted between the two."""

DRIFT_ALLOWANCE: Final = 50e-6
"""How much faster one clock may run than the other: NTP steers the host's by some millionths, seldom by tens."""

Key = tuple[str, int]
"""Stage and batch index."""


@dataclass(frozen=True, slots=True)
class MatchedStage:
    """A stage of a batch, and its range."""

    batch: int
    stage: StageRecord
    projection: Projection

    @property
    def clock_offset_ns(self) -> int:
        """The capture's clock less ours, as this pair shows it."""
        return self.projection.range.start_ns - self.stage.host_start_ns


@dataclass(frozen=True, slots=True)
class StageCounts:
    """How many of a stage there were, and how many were matched one to one.

    Attributes:
        in_run: in the run's records.
        in_capture: ranges in the capture.
        matched: pairs.
        missing_in_capture: of the run, without a range.
        missing_in_run: ranges, without a record.
        repeated_in_run: batch indices that occur more than once in the run.
        repeated_in_capture: payloads that occur more than once in the capture.
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
    """How constant the difference of the two clocks was over a run.

    Attributes:
        offset_ns: median of what the pairs show, the capture's clock less ours.
        deviation_p99_ns: 99th percentile of how far the pairs lie from it.
        deviation_max_ns: the furthest.
    """

    offset_ns: float
    deviation_p99_ns: float
    deviation_max_ns: float


@dataclass(frozen=True, slots=True)
class Matching:
    """What belongs together.

    Attributes:
        pairs: in the order of the run.
        counts: by stage, of those that occur in one of the two.
        clock: None without pairs.
        in_both: how many pairs there could be by name and payload alone.
    """

    pairs: tuple[MatchedStage, ...]
    counts: dict[str, StageCounts]
    clock: ClockAgreement | None
    in_both: int


def match_stages(run: RunResult, projections: Iterable[Projection]) -> Matching:
    """Pairs the stages of a run with ranges of the same name and payload.

    Ranges of other names, or without a payload, are left out.
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
    """Median of those values in the window of this width that holds the most of them."""
    ordered = sorted(values)
    ends = [bisect_right(ordered, value + width) for value in ordered]
    at = max(range(len(ordered)), key=lambda first: ends[first] - first)
    inside = percentile(ordered[at : ends[at]], 50)
    assert inside is not None  # a window holds at least the value it begins with
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
