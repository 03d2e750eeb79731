# SPDX-License-Identifier: MIT
"""The steady part of a run, after warm-up.

The first batch of each shape is slow (lazy loading of kernels, allocator growth, an empty loader), so the first 10 % of
the completed batches, at least 3, are excluded. The steady rate is the number of tokens in the remaining batches
divided by the time from the last warm-up completion to the last completion, which includes waits for data. Both ends
must be measured completions: warm-up lasts until the next batch with device times, and the steady part ends with the
last one.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.telemetry.batch_table import HAS_PACKING, BatchTable
from virnuc_profiler.telemetry.rates import ratio

WARM_UP_SHARE = 0.1
MIN_WARM_UP_BATCHES = 3
MIN_STEADY_BATCHES = 3
"""Minimum number of remaining batches for a steady state."""


class Completion(NamedTuple):
    """Completion of a batch.

    Attributes:
        at_ns: Completion time on the host's clock.
        sequences: Number of sequences in the batch; None without packing statistics.
        tokens: Number of tokens in the batch; None without packing statistics.
        measured: Whether `at_ns` was measured instead of being an upper bound.
    """

    at_ns: int
    sequences: int | None
    tokens: int | None
    measured: bool = True


@dataclass(frozen=True, slots=True)
class SteadyState:
    """Rates after warm-up.

    Attributes:
        warm_up_batches: Number of batches that were excluded.
        window: Time from the last warm-up completion to the last completion, ns; None if the run is too short.
        tokens_per_sec: Tokens per second in the window; None if they were not measured.
        sequences_per_sec: Sequences per second in the window; None if they were not measured.
    """

    warm_up_batches: int
    window: Interval | None
    tokens_per_sec: float | None
    sequences_per_sec: float | None


def warm_up_batches(count: int) -> int:
    """Return the number of warm-up batches; it may exceed the number of batches.

    Args:
        count: Number of batches in the run.
    """
    return max(MIN_WARM_UP_BATCHES, math.ceil(WARM_UP_SHARE * count))


def completions(batches: BatchTable) -> list[Completion]:
    """Return the completion of every batch, in the order of the batches.

    Args:
        batches: Batches of the run.
    """
    packed = batches.flagged(HAS_PACKING).tolist()
    counts = [
        [count if known else None for count, known in zip(batches.columns[field].tolist(), packed, strict=True)]
        for field in ("sequences", "tokens")
    ]
    found = completions_of(batches)
    return list(map(Completion, found.at_ns.tolist(), *counts, found.measured.tolist()))


def steady_batches(batches: BatchTable) -> BatchTable:
    """Return the batches after warm-up in order of completion; none if the run is too short.

    Args:
        batches: Batches of the run.
    """
    found = completions_of(batches)
    order = np.argsort(found.at_ns, kind="stable")
    first, end = _steady_part(found.measured[order].tolist())
    return batches.take(order[first:end])


def steady_state(completions: Iterable[Completion]) -> SteadyState:
    """Return the rates of a run after warm-up.

    Args:
        completions: Completions of the run's batches, in any order.
    """
    ordered = sorted(completions, key=lambda completion: completion.at_ns)
    first, end = _steady_part([completion.measured for completion in ordered])
    steady = ordered[first:end]
    if not steady:
        return SteadyState(min(warm_up_batches(len(ordered)), len(ordered)), None, None, None)
    window = ordered[first - 1].at_ns, steady[-1].at_ns
    elapsed_ns = window[1] - window[0]
    return SteadyState(
        first,
        window,
        _rate([completion.tokens for completion in steady], elapsed_ns),
        _rate([completion.sequences for completion in steady], elapsed_ns),
    )


def _steady_part(measured: Sequence[bool]) -> tuple[int, int]:
    """Return start and end of the steady part among completions in order of time; (0, 0) if the run is too short."""
    places = [place for place, was_measured in enumerate(measured) if was_measured]
    last_of_warm_up = bisect_left(places, warm_up_batches(len(measured)) - 1)
    if last_of_warm_up == len(places):
        return 0, 0
    first, end = places[last_of_warm_up] + 1, places[-1] + 1
    return (first, end) if end - first >= MIN_STEADY_BATCHES else (0, 0)


def _rate(counts: list[int | None], elapsed_ns: int) -> float | None:
    known = [count for count in counts if count is not None]
    return ratio(sum(known) * 1e9, elapsed_ns) if len(known) == len(counts) else None
