# SPDX-License-Identifier: MIT
"""The project's performance requirements, and whether a run or a job meets them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from virnuc_profiler.analysis.gpu.coverage import reaches
from virnuc_profiler.analysis.summary.sampled_keys import UTILIZATION, summary_coverage
from virnuc_profiler.analysis.timing.statistics import weighted_mean
from virnuc_profiler.telemetry.number_text import between, percent

PERF_01_HOURS = 10.0
PERF_02_PERCENT = 70.0
PERF_05_EFFICIENCY = 0.90

_ROUNDING = 1e-9
"""Tolerance for rounding: the mean of values that are all 0.9 counts as 0.9."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One of the project's performance requirements.

    Attributes:
        name: Name of the requirement.
        text: What it requires.
        value: Measured value; None if it was not measured.
        unit: Unit of the value.
        limit: Value from which on, or below which, it is met.
        met: Whether it is met; None if it was not measured, or if the measurement does not decide it.
        remark: Why the measurement does not decide it; empty if it does, or if there is none.
    """

    name: str
    text: str
    value: float | None
    unit: str
    limit: float
    met: bool | None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Projections:
    """Hours for 6 million sequences like those of the run. What was not measured is None.

    Attributes:
        sequences: By sequences, at the rate of the whole run, as if it started up again and again.
        tokens: By tokens, at the same rate. Equal to `sequences`, unless another writer knew the real mean length.
        steady: With one start-up, then at the steady rate.
        interval: Ends of the prediction interval of `steady`; None if they are not known.
    """

    sequences: float | None
    tokens: float | None
    steady: float | None
    interval: tuple[float | None, float | None] = (None, None)

    @property
    def whole_run(self) -> float | None:
        """The projection at the rate of the whole run: by tokens where it is known, else by sequences."""
        return self.sequences if self.tokens is None else self.tokens

    @property
    def tokens_differ(self) -> bool:
        """Whether the projections by sequences and by tokens say different things."""
        if self.sequences is None or self.tokens is None:
            return False
        return not math.isclose(self.sequences, self.tokens, rel_tol=1e-6)


def requirements(
    summary: Mapping[str, Any], projections: Projections, shards: Sequence[Mapping[str, Any]], *, on_cpu: bool
) -> list[Requirement]:
    """Return the requirements that apply: those of speed only to a GPU, and that of packing only to packs.

    Args:
        summary: Summary of the run or the job.
        projections: Hours for 6 million sequences.
        shards: Summaries of the job's shards; empty for a run.
        on_cpu: Whether the run is known to be one on the CPU.
    """
    efficiency = summary["avg_packing_efficiency"]
    unsteady = any(
        "steady_tokens_per_sec" in one and one["steady_tokens_per_sec"] is None for one in (summary, *shards)
    )
    of_a_gpu = [
        _projected_hours(projections, unsteady=unsteady),
        _utilization(summary, shards),
    ]
    of_packs = [
        Requirement(
            "PERF-05",
            f"packing efficiency >= {100 * PERF_05_EFFICIENCY:g}%",
            None if efficiency is None else 100 * efficiency,
            "%",
            100 * PERF_05_EFFICIENCY,
            None if efficiency is None else efficiency >= PERF_05_EFFICIENCY - _ROUNDING,
        ),
    ]
    return [*([] if on_cpu else of_a_gpu), *([] if summary.get("padded_tokens") else of_packs)]


def _utilization(summary: Mapping[str, Any], shards: Sequence[Mapping[str, Any]]) -> Requirement:
    """Return the verdict on the utilization, for a job only if it does not depend on how its shards are weighted.

    Args:
        summary: Summary of the run or the job.
        shards: Summaries of the job's shards; empty for a run.
    """
    minimum, load, coverage = PERF_02_PERCENT - _ROUNDING, summary[UTILIZATION], summary_coverage(summary, UTILIZATION)
    met, remark = reaches(minimum, load, coverage), ""
    by_time = weighted_mean((shard[UTILIZATION], shard.get("elapsed_seconds") or 0.0) for shard in shards)
    if met is not None and by_time is not None and met != reaches(minimum, by_time, coverage):
        met, remark = None, f"Its shards took different times: by time it is {percent(by_time, beside=minimum)}."
    return Requirement("PERF-02", f"GPU utilization >= {PERF_02_PERCENT:g}%", load, "%", PERF_02_PERCENT, met, remark)


def _projected_hours(projections: Projections, *, unsteady: bool) -> Requirement:
    """Return the verdict on the projection, which a run decides only if its start makes no difference to it.

    Args:
        projections: Hours for 6 million sequences.
        unsteady: Whether the run is known to have too few batches for a steady rate.
    """
    hours, steady = projections.whole_run, projections.steady
    met = None if hours is None else hours < PERF_01_HOURS
    remark = ""
    if met is not None and steady is not None and met != (steady < PERF_01_HOURS):
        met, remark = None, "The run is too short to tell: its start-up and warm-up decide."
    if met is not None and unsteady:
        met, remark = None, "The run is too short to tell: it has too few batches for a steady rate."
    low, high = projections.interval
    if met is not None and low is not None and high is not None and low < PERF_01_HOURS <= high:
        met, remark = None, f"The run is too short to tell: the projection's interval is {between(low, high)} h."
    return Requirement(
        "PERF-01", f"projected 6M sequences < {PERF_01_HOURS:g} h", hours, "h", PERF_01_HOURS, met, remark
    )
