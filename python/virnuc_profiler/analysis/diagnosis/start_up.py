# SPDX-License-Identifier: MIT
"""The start of a run, until its batches reach their pace: how long it took, and what it was spent on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from virnuc_profiler.analysis.diagnosis import host_activity as host
from virnuc_profiler.analysis.diagnosis.bottlenecks import (
    COLLATION,
    DATA_LOADING,
    FIRST_BATCH,
    OTHER_HOST_WORK,
    WARM_UP,
)
from virnuc_profiler.analysis.diagnosis.host_activity import LOADER_STAGES, HostTimeline
from virnuc_profiler.analysis.diagnosis.prepared_time import NotedTime, noted_time
from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.analysis.timing.statistics import percentile
from virnuc_profiler.analysis.timing.steady_state import Work
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.parts.start_up_records import StartUpPart, StartUpRecord
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.stage_columns import Column

CONSIDERABLE_SHARE: Final = 0.1
"""A start-up, or an end, that takes this share of the run is part of its verdict."""

_CAUSES: Final = {host.FETCHING: DATA_LOADING, host.COLLATING: COLLATION}


@dataclass(frozen=True)
class StartUp:
    """The run until its batches reached their pace.

    Attributes:
        elapsed_ns: Time from the start of the run to the completion of the first batch.
        run_ns: Length of the run.
        batch_ns: Median time from one completion to the next later in the run; None with a single batch.
        phases: What `elapsed_ns` was spent on, ns by phase; they add up to it. They are the work that was noted as
            preparation, the causes of the host's other work until it launched the first batch, and ``first_batch`` from
            then on.
        warm_up: How much longer the batches between the first one and the steady part took than later ones, ns by
            phase: noted preparation, and ``warm_up``. Empty if they did not, or if there is no steady part.
        before_ns: Time from the start of the process to that of the run; None if it is unknown, or if the process had
            other runs before.
        before: Part of `before_ns` that was noted as preparation, ns by name.
    """

    elapsed_ns: int
    run_ns: int
    batch_ns: float | None
    phases: Mapping[str, int]
    warm_up: Mapping[str, int]
    before_ns: int | None
    before: Mapping[str, int]

    @property
    def costs_ns(self) -> Mapping[str, float]:
        """Time that starting cost by phase: `phases` without the time that the first batch takes like any other.

        A single batch does not count at all, because nothing says how long another one would take.
        """
        first_ns = self.phases.get(FIRST_BATCH, 0)
        expected_ns = first_ns if self.batch_ns is None else self.batch_ns
        costs: dict[str, float] = {**self.phases, FIRST_BATCH: max(0.0, first_ns - expected_ns)}
        for phase, cost_ns in self.warm_up.items():
            costs[phase] = costs.get(phase, 0) + cost_ns
        return costs

    @property
    def cost_ns(self) -> float:
        """Time that starting cost; never more than the run."""
        return sum(self.costs_ns.values())

    @property
    def share(self) -> float:
        """Share of the run that starting cost, 0 to 1."""
        return ratio(self.cost_ns, self.run_ns) or 0.0

    @property
    def considerable(self) -> bool:
        """Whether the start-up took a considerable share of the run."""
        return self.share >= CONSIDERABLE_SHARE

    @property
    def long_before(self) -> bool:
        """Whether a considerable share of the process's time passed before the run."""
        return self.before_ns is not None and self.before_ns >= CONSIDERABLE_SHARE * (self.before_ns + self.run_ns)


def start_up_of(
    batches: BatchTable,
    span: Interval,
    timeline: HostTimeline,
    *,
    steady: Interval | None = None,
    work: Work | None = None,
    record: StartUpRecord | None = None,
) -> StartUp | None:
    """Return the start-up of a run; None without batches.

    Args:
        batches: Batches of the run.
        span: Start and end of the run on the host's clock, ns.
        timeline: Activity of the host throughout the run.
        steady: Window of the steady part; None if the run is too short for one.
        work: (batches,) work of each batch in any unit; None for its tokens, or for equal batches without them.
        record: What was noted of the start-up beside the batches; None if nothing was.
    """
    if not len(batches):
        return None
    completed = completions_of(batches).at_ns
    first = int(np.argmin(completed))
    start_ns, complete_ns = span[0], min(max(span[0], int(completed[first])), span[1])
    launched_ns = min(max(_launched_ns(batches, first), start_ns), complete_ns)
    later = np.diff(np.sort(completed))
    before = None
    if record is not None and record.first_run and record.process_start_ns is not None:
        before = (min(record.process_start_ns, start_ns), start_ns)
    parts = () if record is None else record.parts
    return StartUp(
        elapsed_ns=complete_ns - start_ns,
        run_ns=span[1] - start_ns,
        batch_ns=percentile(later.tolist(), 50),
        phases=_phases(timeline, noted_time(parts, (start_ns, complete_ns)), launched_ns, complete_ns),
        warm_up={} if steady is None else _warm_up(_work(batches, work), completed, complete_ns, steady, parts),
        before_ns=None if before is None else before[1] - before[0],
        before={} if before is None else noted_time(parts, before).spent_ns,
    )


def _launched_ns(batches: BatchTable, place: int) -> int:
    """Return when the host began the work on a batch itself, after its data were there."""
    stages = batches.stages
    own = stages[(stages.batch == place) & ~stages.named(LOADER_STAGES)]
    starts = own.host_start_ns if len(own) else batches.columns["host_start_ns"][place : place + 1]
    return int(starts.min())


def _phases(timeline: HostTimeline, noted: NotedTime, launched_ns: int, complete_ns: int) -> dict[str, int]:
    spent: dict[str, int] = defaultdict(int, noted.spent_ns)
    starts, ends = noted.rest
    low, high = starts, np.minimum(ends, launched_ns)
    begun = low < high
    _, activities, durations_ns = timeline.during(low[begun], high[begun])
    for activity, duration_ns in zip(activities.tolist(), durations_ns.tolist(), strict=True):
        spent[_CAUSES.get(host.ACTIVITIES[activity], OTHER_HOST_WORK)] += duration_ns
    spent[FIRST_BATCH] += int(np.maximum(np.minimum(ends, complete_ns) - np.maximum(starts, launched_ns), 0).sum())
    return {phase: duration_ns for phase, duration_ns in spent.items() if duration_ns}


def _work(batches: BatchTable, work: Work | None) -> Work:
    if work is not None:
        return work
    return batches.columns["tokens"].astype(np.float64) if batches.all_packed else np.ones(len(batches))


def _warm_up(
    work: Work, completed: Column, first_ns: int, steady: Interval, parts: Iterable[StartUpPart]
) -> dict[str, int]:
    """Return what the batches between the first one and the steady part took longer than their work takes there."""
    between = work[(completed > first_ns) & (completed <= steady[0])].sum()
    later = work[(completed > steady[0]) & (completed <= steady[1])].sum()
    if not later:
        return {}
    left_ns = max(0, round(steady[0] - first_ns - float(between / later) * (steady[1] - steady[0])))
    phases: dict[str, int] = {}
    for name, spent_ns in noted_time(parts, (first_ns, max(first_ns, steady[0]))).spent_ns.items():
        phases[name] = min(spent_ns, left_ns)
        left_ns -= phases[name]
    phases[WARM_UP] = left_ns
    return {phase: spent_ns for phase, spent_ns in phases.items() if spent_ns}
