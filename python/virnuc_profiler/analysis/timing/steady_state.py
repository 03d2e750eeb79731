# SPDX-License-Identifier: MIT
"""The steady part of a run: what is left after warm-up.

The first run of each shape is slow (lazy loading of kernels, allocator growth, an empty loader), so the first 10 %
of the batches to complete are left out, at least 3. What remains is measured from completion to completion: the
tokens of the remaining batches over the time from the last warm-up completion to the last completion. Waits for
data in the middle of the run belong to it. Both ends must be completions that were measured: where a batch there lost
its device times, warm-up lasts until the next that has them, or the steady part ends with the last that has.
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
"""Fewer remaining batches than this say nothing about a steady state."""


class Completion(NamedTuple):
    """When a batch was complete, and what it carried; None where that was not measured.

    Attributes:
        at_ns: when.
        sequences: so many.
        tokens: in these.
        sure: whether `at_ns` was measured, and is no mere bound.
    """

    at_ns: int
    sequences: int | None
    tokens: int | None
    sure: bool = True


@dataclass(frozen=True, slots=True)
class SteadyState:
    """The rates after warm-up; None where they were not measured, or the run was too short to have any.

    Attributes:
        warm_up_batches: so many batches were left out.
        window: from the last warm-up completion to the last completion, ns.
        tokens_per_sec: within it, as for the next.
        sequences_per_sec: alike.
    """

    warm_up_batches: int
    window: Interval | None
    tokens_per_sec: float | None
    sequences_per_sec: float | None


def warm_up_batches(count: int) -> int:
    """How many of `count` batches are warm-up; it may be more than there are."""
    return max(MIN_WARM_UP_BATCHES, math.ceil(WARM_UP_SHARE * count))


def completions(batches: BatchTable) -> list[Completion]:
    """The completion of every batch, in the order of `batches`."""
    packed = batches.flagged(HAS_PACKING).tolist()
    counts = [
        [count if known else None for count, known in zip(batches.column(field).tolist(), packed, strict=True)]
        for field in ("sequences", "tokens")
    ]
    found = completions_of(batches)
    return list(map(Completion, found.at_ns.tolist(), *counts, found.sure.tolist()))


def steady_batches(batches: BatchTable) -> BatchTable:
    """The batches after warm-up in order of completion; none if too few remain to speak of a steady state."""
    found = completions_of(batches)
    order = np.argsort(found.at_ns, kind="stable")
    first, end = _steady_part(found.sure[order].tolist())
    return batches.take(order[first:end])


def steady_state(completions: Iterable[Completion]) -> SteadyState:
    """The rates of a run after its warm-up, by the rule above."""
    ordered = sorted(completions, key=lambda completion: completion.at_ns)
    first, end = _steady_part([completion.sure for completion in ordered])
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


def _steady_part(sure: Sequence[bool]) -> tuple[int, int]:
    """Where it begins and ends among completions in order of time; empty if too little would remain."""
    measured = [place for place, is_sure in enumerate(sure) if is_sure]
    last_of_warm_up = bisect_left(measured, warm_up_batches(len(sure)) - 1)
    if last_of_warm_up == len(measured):
        return 0, 0
    first, end = measured[last_of_warm_up] + 1, measured[-1] + 1
    return (first, end) if end - first >= MIN_STEADY_BATCHES else (0, 0)


def _rate(counts: list[int | None], elapsed_ns: int) -> float | None:
    known = [count for count in counts if count is not None]
    return ratio(sum(known) * 1e9, elapsed_ns) if len(known) == len(counts) else None
