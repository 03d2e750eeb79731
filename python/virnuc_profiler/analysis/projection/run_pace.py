# SPDX-License-Identifier: MIT
"""What a projection needs of a run: its pace, and the lengths of its sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from virnuc_profiler.analysis.confidence.rate_interval import RateInterval
from virnuc_profiler.analysis.model_cost import ModelShape, flops_by_batch
from virnuc_profiler.analysis.projection.job_time import JobTime, Pace, project_job
from virnuc_profiler.analysis.projection.length_strata import LengthStrata
from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.telemetry.rates import PROJECTED_SEQUENCES
from virnuc_profiler.telemetry.run_result import RunResult

GENERATED = "generated"
"""Beginning of the source of a workload that was generated, whose lengths have their shares by construction."""


def pace_of_run(run: RunResult, summary: Mapping[str, Any], shape: ModelShape | None) -> Pace | None:
    """Return the pace of a run; None if it has fewer than two batches, or batches that were not counted.

    A run without a steady rate is as fast as after its first batch, without an interval of its own.

    Args:
        run: The run.
        summary: Its telemetry summary.
        shape: Shape of the model; None if it is unknown.
    """
    start_up_s = summary.get("start_up_seconds")
    if start_up_s is None or not run.batches.all_packed:
        return None
    rate, interval = summary.get("steady_tokens_per_sec"), summary.get("steady_interval")
    return pace_of_result(
        _rate_after_first_batch(run, shape) if rate is None else rate,
        start_up_s,
        None if interval is None else RateInterval.from_json(interval),
        run.elapsed_s - start_up_s,
        summary.get("avg_gpu_util"),
    )


def pace_of_result(
    tokens_per_sec: float | None,
    start_up_s: float | None,
    interval: RateInterval | None,
    measured_s: float | None,
    gpu_util: float | None,
) -> Pace | None:
    """Return the pace that some measurements say; None without a rate or the times that belong to it.

    Args:
        tokens_per_sec: Steady tokens per second, or None.
        start_up_s: Seconds from the start to the first completed batch, or None.
        interval: Interval of the steady rate, or None.
        measured_s: Seconds that the run lasted after its first batch, or None.
        gpu_util: GPU utilization in percent, or None.
    """
    window = None if interval is None else interval.window
    seconds = measured_s if window is None else (window[1] - window[0]) / 1e9
    if tokens_per_sec is None or start_up_s is None or seconds is None or tokens_per_sec <= 0 or start_up_s < 0:
        return None
    own = None if interval is None else interval.relative_half_width
    if own is not None and not 0 <= own <= 1:  # no interval of this package is that wide
        own = None
    return Pace(tokens_per_sec, start_up_s, own, seconds, gpu_util)


def done_lengths(run: RunResult) -> LengthStrata | None:
    """Return the lengths of the sequences that a run has done, in one stratum; None if they were not counted."""
    columns = run.batches.columns
    if not len(run.batches) or not run.batches.all_packed:
        return None
    sequences, tokens, squares = (int(columns[name].sum()) for name in ("sequences", "tokens", "sum_squared_lengths"))
    if not sequences or not tokens:
        return None
    return LengthStrata((int(columns["max_length"].max()),), (sequences,), (tokens,), (squares,))


def workload_lengths(run: RunResult) -> LengthStrata | None:
    """Return the lengths of a run's workload in strata, as its metadata have them; None in runs of older versions."""
    workload = run.metadata.get("workload")
    return LengthStrata.from_json(workload.get("length_strata")) if isinstance(workload, Mapping) else None


def is_stratified(metadata: Mapping[str, Any]) -> bool:
    """Return whether the lengths of a run's workload have their shares by construction.

    Args:
        metadata: Metadata of the run.
    """
    workload = metadata.get("workload")
    sampled = isinstance(workload, Mapping) and workload.get("sampling") == "stratified"
    return sampled or str(metadata.get("workload_source", "")).startswith(GENERATED)


def project_run(
    run: RunResult,
    summary: Mapping[str, Any],
    shape: ModelShape | None,
    *,
    sequences: int = PROJECTED_SEQUENCES,
) -> JobTime | None:
    """Project a job of sequences like those of a run's workload; None if the run says nothing of it.

    Args:
        run: The run.
        summary: Its telemetry summary.
        shape: Shape of the model; None if it is unknown.
        sequences: Number of sequences of the job.
    """
    pace, done = pace_of_run(run, summary, shape), done_lengths(run)
    if pace is None or done is None:
        return None
    return project_job(
        pace,
        done,
        workload_lengths(run) or done,
        shape,
        sequences=sequences,
        stratified=is_stratified(run.metadata),
    )


def projected_interval(run: RunResult, summary: Mapping[str, Any], shape: ModelShape | None) -> dict[str, float] | None:
    """Return the interval of ``projected_6M_hours_steady``; None unless the run has settled.

    Args:
        run: The run.
        summary: Its telemetry summary, with the steady rate and its interval.
        shape: Shape of the model; None if it is unknown.
    """
    if summary.get("steady_interval") is None or summary.get("projected_6M_hours_steady") is None:
        return None
    if RateInterval.from_json(summary["steady_interval"]).relative_half_width is None:
        return None
    projected = project_run(run, summary, shape)
    return None if projected is None else {"low": projected.low_hours, "high": projected.high_hours}


def _rate_after_first_batch(run: RunResult, shape: ModelShape | None) -> float | None:
    """Return the tokens per second after the first completed batch, as if all tokens went at that pace."""
    batches = run.batches
    at_ns = completions_of(batches).at_ns
    order = np.argsort(at_ns, kind="stable")
    tokens = batches.columns["tokens"].astype(np.float64)
    work = tokens if shape is None else flops_by_batch(batches, shape)
    if len(order) < 2 or at_ns[order[-1]] <= at_ns[order[0]] or work[order[1:]].sum() <= 0:
        return None
    seconds = float(at_ns[order[-1]] - at_ns[order[0]]) / 1e9
    return float(tokens.sum() / work.sum() * work[order[1:]].sum()) / seconds
