# SPDX-License-Identifier: MIT
"""Rates and projections computed from totals. What cannot be computed is None, never infinity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

PROJECTED_SEQUENCES = 6_000_000
"""Job size of the projections, ``projected_6M_hours`` and those that begin with it."""

_SECONDS_PER_HOUR = 3600


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """Divide two numbers; return None if one is None, the denominator is 0, or the result is not finite.

    Args:
        numerator: Dividend, or None if it was not measured.
        denominator: Divisor, or None if it was not measured.
    """
    if numerator is None or denominator is None or denominator == 0:
        return None
    try:
        result = numerator / denominator
    except OverflowError:
        return None
    return result if math.isfinite(result) else None


def projected_hours(amount: float | None, measured: int | None, elapsed_seconds: float | None) -> float | None:
    """Return the hours that a job takes at a measured rate; None if the rate was not measured.

    Args:
        amount: Size of the job, in sequences or tokens.
        measured: Number of sequences or tokens processed in `elapsed_seconds`.
        elapsed_seconds: Wall time of the measurement.
    """
    share = ratio(amount, measured)
    if share is None or elapsed_seconds is None:
        return None
    return ratio(share * elapsed_seconds, _SECONDS_PER_HOUR)


def planned_tokens_per_sequence(metadata: Mapping[str, Any], total_sequences: int | None) -> float | None:
    """Return the mean length of the workload of a run that ended early; None for a whole run, or if it is unknown.

    What such a run has done does not represent the rest: the first packs of each buffer hold the long sequences.

    Args:
        metadata: Metadata of the run, of unknown origin.
        total_sequences: Number of sequences that the run has done in all passes, or None.
    """
    planned = sequences_per_pass(metadata)
    if planned is None or not ended_early(metadata, total_sequences):
        return None
    tokens = metadata["workload"].get("tokens")
    return ratio(tokens, planned) if type(tokens) is int and tokens > 0 else None


def ended_early(metadata: Mapping[str, Any], total_sequences: int | None) -> bool:
    """Return whether a run has ended within a pass over its workload, or was stopped; False if that is unknown.

    Args:
        metadata: Metadata of the run, of unknown origin.
        total_sequences: Number of sequences that the run has done in all passes, or None.
    """
    planned = sequences_per_pass(metadata)
    if planned is None or total_sequences is None or total_sequences < 0:
        return False
    if total_sequences < planned or metadata.get("status") in ("failed", "interrupted"):
        return True
    return passes_of(metadata) is not None and total_sequences % planned != 0


def is_miscounted(metadata: Mapping[str, Any]) -> bool:
    """Return whether a run went to its end, but did not record what it was to run.

    Args:
        metadata: Metadata of the run, of unknown origin.
    """
    failure = metadata.get("failure")
    evidence = failure.get("evidence") if isinstance(failure, Mapping) else None
    return isinstance(evidence, Mapping) and "recorded_sequences" in evidence


def sequences_per_pass(metadata: Mapping[str, Any]) -> int | None:
    """Return the number of sequences of a run's workload, which it runs once or several times; None if it is unknown.

    Args:
        metadata: Metadata of the run, of unknown origin.
    """
    workload = metadata.get("workload")
    planned = workload.get("num_sequences") if isinstance(workload, Mapping) else None
    return planned if type(planned) is int and planned > 0 else None


def passes_of(metadata: Mapping[str, Any]) -> int | None:
    """Return how often a run went through its whole workload; None if its metadata do not say.

    Args:
        metadata: Metadata of the run, of unknown origin.
    """
    passes = metadata.get("passes")
    return passes if type(passes) is int and passes >= 0 else None


def steady_projected_hours(start_up_seconds: float | None, sequences_per_sec: float | None) -> float | None:
    """Return the hours of a job of ``PROJECTED_SEQUENCES`` that starts up once; None if the rate was not measured.

    Args:
        start_up_seconds: Seconds from the start to the first completed batch.
        sequences_per_sec: Sequences per second after warm-up.
    """
    seconds = ratio(PROJECTED_SEQUENCES, sequences_per_sec)
    if seconds is None or start_up_seconds is None:
        return None
    return ratio(start_up_seconds + seconds, _SECONDS_PER_HOUR)


def rates(
    total_sequences: int | None, total_tokens: int | None, elapsed_seconds: float | None
) -> dict[str, float | None]:
    """Return the summary keys that follow from the totals of a run.

    Both projections assume sequences like the measured ones, and the rate of the whole run with its start-up, so they
    are the same figure. Only the one by tokens stays correct when ``avg_tokens_per_seq`` is replaced by the mean length
    of the real data.

    Args:
        total_sequences: Number of sequences processed, or None.
        total_tokens: Number of tokens processed, or None.
        elapsed_seconds: Wall time of the run, or None.
    """
    tokens_per_sequence = ratio(total_tokens, total_sequences)
    sequences_per_second = ratio(total_sequences, elapsed_seconds)
    return {
        "avg_tokens_per_sec": ratio(total_tokens, elapsed_seconds),
        "sequences_per_hour": _times(sequences_per_second, _SECONDS_PER_HOUR),
        "projected_6M_hours": projected_hours(PROJECTED_SEQUENCES, total_sequences, elapsed_seconds),
        "avg_tokens_per_seq": tokens_per_sequence,
        "projected_6M_hours_tokens": projected_hours(
            _times(tokens_per_sequence, PROJECTED_SEQUENCES), total_tokens, elapsed_seconds
        ),
    }


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else ratio(value * factor, 1)
