# SPDX-License-Identifier: MIT
"""How long a job will take: in the ranks that run it, or on numbers of GPUs that are only thought of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from virnuc_profiler.cli.terminal import say

if TYPE_CHECKING:
    from virnuc_profiler.cli.options.embed_options import EmbedRequest
    from virnuc_profiler.embed.job import EmbedJob
    from virnuc_profiler.embed.measured_ranks import MeasuredRanks
    from virnuc_profiler.embed.prepared_job import PreparedJob
    from virnuc_profiler.ranks.rank import Rank
    from virnuc_profiler.reports.projection_text import Projected


def read_pace(request: EmbedRequest, job: EmbedJob) -> MeasuredRanks | None:
    """Read the pace that the time is predicted from; None if nothing was named, or if a sweep does not tell it.

    Args:
        request: What was asked for.
        job: The job.

    Raises:
        TelemetryFormatError: What was named for this alone cannot be read, or holds no rate.
        UsageError: The pace is that of a model of another size.
    """
    from virnuc_profiler.embed.measured_ranks import read_measured, require_model
    from virnuc_profiler.errors import TelemetryFormatError

    if request.measured is None:
        return None
    try:
        measured = read_measured(request.measured)
    except TelemetryFormatError as error:
        if request.measured != request.config:
            raise
        say(f"virnuc-profiler: warning: no time is predicted, {error}")
        return None
    require_model(measured.source, job.shape)
    return measured


def projected_time(request: EmbedRequest, prepared: PreparedJob, measured: MeasuredRanks, rank: Rank) -> Projected:
    """Predict the time of the shards that are left, from the start of the run, if all ranks run at once.

    Args:
        request: What was asked for.
        prepared: The job.
        measured: Pace of a rank.
        rank: Which rank this process is, of how many.
    """
    from virnuc_profiler.analysis.projection.extrapolation import Job
    from virnuc_profiler.analysis.projection.length_strata import strata_of
    from virnuc_profiler.embed.job_forecast import forecast_job
    from virnuc_profiler.embed.prepared_job import left_tokens
    from virnuc_profiler.reports.projection_text import project_source

    tokens = left_tokens(prepared)
    job = Job(strata_of(tokens), _fingerprint(prepared))
    projected = project_source(measured.source, job, "that are left", len(tokens))
    if rank.is_single:
        return projected
    running = replace(measured, source=replace(measured.source, before_s=0.0))
    forecast = forecast_job(
        running, prepared.left, tokens, prepared.job.shape, [rank.count], configuration=request.configuration
    )
    time = forecast.forecasts[0].wall_s
    hours, low_hours, high_hours = (seconds / 3600 for seconds in (time.middle, time.low, time.high))
    time_of_all = replace(projected.time, hours=hours, low_hours=low_hours, high_hours=high_hours)
    return replace(projected, time=time_of_all)


def print_forecast(
    request: EmbedRequest, prepared: PreparedJob, measured: MeasuredRanks, counts: Sequence[int], device: str
) -> None:
    """Print how long the shards that are left take on numbers of devices.

    Args:
        request: What was asked for.
        prepared: The job.
        measured: Pace of a rank, and how much ranks differ.
        counts: Numbers of devices.
        device: What a rank computes on, in one word.
    """
    from virnuc_profiler.embed.job_forecast import forecast_job
    from virnuc_profiler.embed.prepared_job import left_tokens
    from virnuc_profiler.reports.ranks.forecast_text import render_forecast

    forecast = forecast_job(
        measured,
        prepared.left,
        left_tokens(prepared),
        prepared.job.shape,
        counts,
        configuration=request.configuration,
        fingerprint=_fingerprint(prepared),
    )
    print(f"\n{render_forecast(forecast, device)}", end="")


def _fingerprint(prepared: PreparedJob) -> str | None:
    """Return the fingerprint of the file if all of it is left."""
    return prepared.job.fingerprint if len(prepared.left) == len(prepared.shards) else None
