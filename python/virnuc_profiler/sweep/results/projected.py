# SPDX-License-Identifier: MIT
"""The projection of a validation: how long the user's job takes."""

from __future__ import annotations

from dataclasses import replace

from virnuc_profiler.sweep.plan.objective import TIME, Objective
from virnuc_profiler.sweep.results.document import Projection
from virnuc_profiler.sweep.results.result import Result
from virnuc_profiler.telemetry.rates import ratio

_SECONDS_PER_HOUR = 3600


def projection_of(result: Result, objective: Objective) -> Projection | None:
    """Return how long the job takes at the rates of a result; None if it has none.

    Args:
        result: Result of the validation.
        objective: Names the number of sequences of the job.
    """
    if not result.succeeded or result.interrupted or result.sequences_per_sec is None:
        return None
    job = objective.sequences
    whole_h = ratio(ratio(job, result.sequences_per_sec), _SECONDS_PER_HOUR)
    steady_h = None
    if result.steady_sequences_per_sec is not None:
        steady_h = ratio(replace(objective, kind=TIME).predicted_sec(result), _SECONDS_PER_HOUR)
    return Projection(job, whole_h, steady_h, *_interval(result, steady_h))


def _interval(result: Result, steady_h: float | None) -> tuple[float | None, float | None]:
    """Return the prediction interval of the hours of a large job of sequences like those that were run."""
    from virnuc_profiler.analysis.projection.job_time import interval_of_hours  # needs NumPy, which --help does not
    from virnuc_profiler.analysis.projection.run_pace import pace_of_result

    pace = pace_of_result(
        result.steady_tokens_per_sec, result.start_up_sec, result.interval, result.measured_sec, result.gpu_util
    )
    if steady_h is None or pace is None or pace.own_half_width is None:
        return None, None
    return interval_of_hours(steady_h, pace)
