# SPDX-License-Identifier: MIT
"""What a projection assumes that the run has not shown, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from virnuc_profiler.analysis.confidence.rate_interval import MAX_HALF_WIDTH
from virnuc_profiler.analysis.projection.job_time import JobTime, Pace
from virnuc_profiler.analysis.projection.length_strata import LengthStrata
from virnuc_profiler.telemetry.number_text import counted, share

UNSEEN_SHARE: Final = 0.005
"""Share of the job's tokens at lengths that the run did not have, from which on it is mentioned."""
OTHER_MEAN: Final = 0.05
"""Relative difference of the mean lengths from which on it is mentioned."""
MUCH_LONGER: Final = 100
"""How many times as long as the measurement a job is that is called much longer."""


@dataclass(frozen=True, slots=True)
class Job:
    """The job of a projection.

    Attributes:
        lengths: Lengths of its sequences, or of sequences like them.
        fingerprint: Fingerprint of its file; None if its sequences are only said to be like the run's.
    """

    lengths: LengthStrata
    fingerprint: str | None = None


def extrapolations(
    time: JobTime, job: Job, pace: Pace, workload: Mapping[str, Any], measured: LengthStrata, *, has_shape: bool
) -> Iterator[str]:
    """Yield a sentence for each thing that a projection assumes.

    Args:
        time: The projection.
        job: The job.
        pace: Pace of the run.
        workload: The run's workload, as its metadata have it.
        measured: Lengths of the run's sequences.
        has_shape: Whether the model's arithmetic is known.
    """
    yield from _about_the_run(pace)
    if job.fingerprint is None:
        yield from _about_the_first(workload)
    elif job.fingerprint != workload.get("fingerprint"):
        yield "The job's file is not the one that was run: only its lengths are taken into account."
    unseen = _unseen(job.lengths, measured)
    if unseen >= UNSEEN_SHARE:
        yield f"{share(unseen)} of the job's tokens are in sequences of lengths that the run did not have."
    if abs(job.lengths.mean_tokens / measured.mean_tokens - 1) > OTHER_MEAN:
        means = f"{job.lengths.mean_tokens:,.1f} tokens where the run had {measured.mean_tokens:,.1f}"
        counted_in = "FLOPs" if has_shape else "tokens, since the model's arithmetic is unknown"
        yield f"The job's sequences have a mean of {means}: their work is counted in {counted_in}."
    factor = 3600 * time.hours / max(pace.measured_s, 1e-9)
    if factor > MUCH_LONGER:
        yield (
            f"The job is {factor:,.0f} times as long as the measurement: what changes over hours, such as heat or "
            "other users, is not in the interval."
        )


def _about_the_first(workload: Mapping[str, Any]) -> Iterator[str]:
    planned, in_file = workload.get("num_sequences"), workload.get("sequences_in_file")
    if type(planned) is int and type(in_file) is int and planned < in_file and workload.get("seed") is None:
        yield (
            f"The run had the first {planned:,} of {counted(in_file, 'sequence')} of its file, which is no random "
            "sample: others may have other lengths."
        )


def _about_the_run(pace: Pace) -> Iterator[str]:
    if pace.repeated:
        yield f"Runs differ as the {len(pace.repeats)} repeated measurements do."
        return
    yield (
        "One run does not show how much runs differ: the interval holds a stated allowance for that. Repeated "
        "measurements of a sweep would tell."
    )
    if pace.own_half_width is None:
        yield (
            f"The run has no settled steady rate, and counts as known to {share(MAX_HALF_WIDTH)}: a longer one would "
            "narrow the interval."
        )


def _unseen(job: LengthStrata, measured: LengthStrata) -> float:
    """Return the share of the job's tokens in strata that the run had no sequence of."""
    if job.upper_bounds != measured.upper_bounds:  # a run of an older version, of which only the longest is known
        longest = measured.upper_bounds[-1]
        tokens = zip(job.upper_bounds, job.tokens, strict=True)
        return sum(count for bound, count in tokens if bound > longest) / job.total_tokens
    pairs = zip(job.tokens, measured.sequences, strict=True)
    return sum(tokens for tokens, seen in pairs if not seen) / job.total_tokens
