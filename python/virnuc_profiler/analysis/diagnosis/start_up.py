# SPDX-License-Identifier: MIT
"""The start of a run, until its first batch is complete: how long it took, and what it was spent on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from virnuc_profiler.analysis.diagnosis import host_activity as host
from virnuc_profiler.analysis.diagnosis.bottlenecks import COLLATION, DATA_LOADING, FIRST_BATCH, OTHER_HOST_WORK
from virnuc_profiler.analysis.diagnosis.host_activity import LOADER_STAGES, HostTimeline
from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.analysis.timing.statistics import percentile
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.rates import ratio

CONSIDERABLE_SHARE: Final = 0.1
"""A start-up, or an end, that takes this share of the run is part of its verdict."""

_CAUSES: Final = {host.FETCHING: DATA_LOADING, host.COLLATING: COLLATION}


@dataclass(frozen=True)
class StartUp:
    """The run until its first batch was complete.

    Attributes:
        elapsed_ns: Time from the start of the run to the completion of the first batch.
        run_ns: Length of the run.
        batch_ns: Median time from one completion to the next later in the run; None with a single batch.
        phases: What `elapsed_ns` was spent on, ns by phase: the causes of the host's work until it launched the first
            batch, and ``first_batch`` from then on.
    """

    elapsed_ns: int
    run_ns: int
    batch_ns: float | None
    phases: Mapping[str, int]

    @property
    def costs_ns(self) -> Mapping[str, float]:
        """Time that starting cost by phase: `phases` without the time that the first batch takes like any other.

        A single batch does not count at all, because nothing says how long another one would take.
        """
        first_ns = self.phases.get(FIRST_BATCH, 0)
        expected_ns = first_ns if self.batch_ns is None else self.batch_ns
        return {**self.phases, FIRST_BATCH: max(0.0, first_ns - expected_ns)}

    @property
    def cost_ns(self) -> float:
        """Time that starting cost."""
        return sum(self.costs_ns.values())

    @property
    def share(self) -> float:
        """Share of the run that starting cost, 0 to 1."""
        return ratio(self.cost_ns, self.run_ns) or 0.0

    @property
    def considerable(self) -> bool:
        """Whether the start-up took a considerable share of the run."""
        return self.share >= CONSIDERABLE_SHARE


def start_up_of(batches: BatchTable, span: Interval, timeline: HostTimeline) -> StartUp | None:
    """Return the start-up of a run; None without batches.

    Args:
        batches: Batches of the run.
        span: Start and end of the run on the host's clock, ns.
        timeline: Activity of the host throughout the run.
    """
    if not len(batches):
        return None
    completed = completions_of(batches).at_ns
    first = int(np.argmin(completed))
    start_ns, complete_ns = span[0], max(span[0], int(completed[first]))
    launched_ns = min(max(_launched_ns(batches, first), start_ns), complete_ns)
    later = np.diff(np.sort(completed))
    return StartUp(
        elapsed_ns=complete_ns - start_ns,
        run_ns=span[1] - start_ns,
        batch_ns=percentile(later.tolist(), 50),
        phases=_phases(timeline, start_ns, launched_ns, complete_ns),
    )


def _launched_ns(batches: BatchTable, place: int) -> int:
    """Return when the host began the work on a batch itself, after its data were there."""
    stages = batches.stages
    own = stages[(stages.batch == place) & ~stages.named(LOADER_STAGES)]
    starts = own.host_start_ns if len(own) else batches.columns["host_start_ns"][place : place + 1]
    return int(starts.min())


def _phases(timeline: HostTimeline, start_ns: int, launched_ns: int, complete_ns: int) -> dict[str, int]:
    spent: dict[str, int] = defaultdict(int)
    if start_ns < launched_ns:
        _, activities, durations_ns = timeline.during(np.array([start_ns]), np.array([launched_ns]))
        for activity, duration_ns in zip(activities.tolist(), durations_ns.tolist(), strict=True):
            spent[_CAUSES.get(host.ACTIVITIES[activity], OTHER_HOST_WORK)] += duration_ns
    spent[FIRST_BATCH] += complete_ns - launched_ns
    return {phase: duration_ns for phase, duration_ns in spent.items() if duration_ns}
