# SPDX-License-Identifier: MIT
"""Rates and projections from totals. What cannot be computed is None: a division by zero is not an infinity."""

from __future__ import annotations

import math

PROJECTED_SEQUENCES = 6_000_000
"""The size of job that ``projected_6M_hours`` and ``projected_6M_hours_tokens`` speak of."""

_SECONDS_PER_HOUR = 3600


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """`numerator` / `denominator`; None if one is None, the denominator is 0, or the result is not finite."""
    if numerator is None or denominator is None or denominator == 0:
        return None
    try:
        result = numerator / denominator
    except OverflowError:
        return None
    return result if math.isfinite(result) else None


def projected_hours(amount: float | None, measured: int | None, elapsed_seconds: float | None) -> float | None:
    """Hours for `amount` (sequences or tokens) at the rate of `measured` of them in `elapsed_seconds`."""
    share = ratio(amount, measured)
    if share is None or elapsed_seconds is None:
        return None
    return ratio(share * elapsed_seconds, _SECONDS_PER_HOUR)


def rates(
    total_sequences: int | None, total_tokens: int | None, elapsed_seconds: float | None
) -> dict[str, float | None]:
    """The summary keys that follow from the totals of a run.

    Both projections speak of 6 million sequences like those that were measured, and so are equal for one run; the
    tokens-based one is the one that stays right once ``avg_tokens_per_seq`` is replaced by that of the real data.
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
