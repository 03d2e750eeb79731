# SPDX-License-Identifier: MIT
"""The projection of a job as text, and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from virnuc_profiler.analysis.projection.extrapolation import Job, extrapolations
from virnuc_profiler.analysis.projection.job_time import CONFIDENCE, START_UP_FACTOR, JobTime, StratumTime, project_job
from virnuc_profiler.analysis.projection.source import Source
from virnuc_profiler.reports.columns import filled, fitted
from virnuc_profiler.reports.figures import counted, number, share, with_interval, words

_PARTS = {
    "own": "the run's own rate",
    "between_runs": "what differs between runs",
    "mean_length": "mean length",
    "mix": "other mix of lengths",
}

_MIN_SHOWN = 0.0005
"""Half-width from which on a part of the interval is shown."""
_MIN_HOURS = 0.1
"""Time from which on it is in hours; shorter ones are in seconds."""


@dataclass(frozen=True, slots=True)
class Projected:
    """A projection with what it was made from.

    Attributes:
        source: What was measured.
        job_name: What the job's sequences are, in words.
        time: The projected time.
        assumptions: What it assumes, in sentences.
    """

    source: Source
    job_name: str
    time: JobTime
    assumptions: tuple[str, ...]


def project_source(source: Source, job: Job | None, job_name: str, sequences: int) -> Projected:
    """Project a job.

    Args:
        source: What was measured.
        job: The job; None for sequences like those that were measured.
        job_name: What its sequences are, in words.
        sequences: Number of its sequences.
    """
    stratified = source.stratified and job is None
    job = Job(source.lengths) if job is None else job
    time = project_job(
        source.pace, source.measured, job.lengths, source.shape, sequences=sequences, stratified=stratified
    )
    known = source.shape is not None
    found = extrapolations(time, job, source.pace, source.workload, source.lengths, has_shape=known)
    return Projected(source, job_name, time, tuple(found))


def render_projection(projected: Projected, width: int = 80) -> str:
    """Return the hours with their interval, the histogram of lengths behind them, and what they assume.

    Args:
        projected: The projection.
        width: Maximum number of characters of a line of the table, the interval and the assumptions.
    """
    time, source = projected.time, projected.source
    tokens = sum(stratum.tokens for stratum in time.strata)
    mean = number(tokens / time.sequences, 1)
    unit, per_hour = ("hours", 1.0) if time.hours >= _MIN_HOURS else ("seconds", 3600.0)
    value = f"{number(per_hour * time.hours, 2)} {unit}"
    value = with_interval(value, per_hour * time.low_hours, per_hour * time.high_hours)
    lines = [
        f"Measured: {words(source.name)} ({words(str(source.path))})",
        f"Job: {counted(time.sequences, 'sequence')} {words(projected.job_name)}, {mean} tokens on average",
        f"Time: {value}, of which {number(source.pace.start_up_s, 1)} s start-up",
        *filled(f"Interval: {_interval(time, source.pace.start_up_s)}", width, " " * len("Interval: ")),
        "",
        *fitted(_rows(time.strata, tokens, unit, per_hour), width),
        "",
        "Assumed:",
    ]
    for sentence in projected.assumptions:
        lines += filled(f"  - {words(sentence, 1000)}", width, "    ")
    return "\n".join(lines) + "\n"


def _interval(time: JobTime, start_up_s: float) -> str:
    """Return the ends of the interval as shares of the time, and what it consists of."""
    low, high = (end / time.hours - 1 for end in (time.low_hours, time.high_hours))
    parts = [f"{_PARTS[name]} +/- {share(width)}" for name, width in asdict(time.parts).items() if width >= _MIN_SHOWN]
    if (START_UP_FACTOR - 1) * start_up_s / (3600 * time.hours) >= _MIN_SHOWN:
        parts.append(f"start-up up to {START_UP_FACTOR:g} times as long or as short")
    return f"-{share(-low)} to +{share(high)}: {', '.join(parts)}"


def _rows(
    strata: tuple[StratumTime, ...], tokens: float, unit: str, per_hour: float
) -> list[tuple[str, str, str, str, str]]:
    rows = [("Tokens", "Sequences", "Share of tokens", "Tokens/s", unit.capitalize())]
    lowest = 1
    for stratum in strata:
        if stratum.sequences:
            figures = (f"{stratum.sequences:,.0f}", share(stratum.tokens / tokens), number(stratum.tokens_per_sec))
            rows.append((f"{lowest} to {stratum.up_to_tokens:,}", *figures, number(per_hour * stratum.hours, 2)))
        lowest = stratum.up_to_tokens + 1
    return rows


def projection_json(projected: Projected) -> dict[str, Any]:
    """Return a projection as JSON values."""
    time, pace = projected.time, projected.source.pace
    return {
        "measured": {"path": str(projected.source.path), "name": projected.source.name, **asdict(pace)},
        "job": projected.job_name,
        "sequences": time.sequences,
        "hours": time.hours,
        "interval_hours": [time.low_hours, time.high_hours],
        "confidence": CONFIDENCE,
        "half_widths": {**asdict(time.parts), "total": time.parts.total},
        "strata": [asdict(stratum) for stratum in time.strata],
        "assumptions": list(projected.assumptions),
    }
