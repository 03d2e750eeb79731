# SPDX-License-Identifier: MIT
"""The steady part of a run: what is left after warm-up.

The first run of each shape is slow (lazy loading of kernels, allocator growth, an empty loader), so the first 10 %
of the batches to complete are left out, at least 3. What remains is measured from completion to completion: the
tokens of the remaining batches over the time from the last warm-up completion to the last completion. Waits for
data in the middle of the run belong to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.rates import ratio

WARM_UP_SHARE = 0.1
WARM_UP_AT_LEAST = 3
STEADY_AT_LEAST = 3
"""Fewer remaining batches than this say nothing about a steady state."""


class Completion(NamedTuple):
    """The end of one batch, and what it carried; None where that was not measured."""

    at_ns: int
    sequences: int | None
    tokens: int | None


@dataclass(frozen=True, slots=True)
class SteadyState:
    """The rates after warm-up; None where they were not measured, or the run was too short to have any."""

    warm_up_batches: int
    tokens_per_sec: float | None
    sequences_per_sec: float | None


def warm_up_batches(count: int) -> int:
    """How many of `count` batches are warm-up; it may be more than there are."""
    return max(WARM_UP_AT_LEAST, math.ceil(WARM_UP_SHARE * count))


def steady_batches(batches: BatchTable) -> BatchTable:
    """The batches after warm-up in order of completion; none if too few remain to speak of a steady state."""
    order = np.argsort(batches.column("host_end_ns"), kind="stable")
    steady = order[warm_up_batches(len(order)) :]
    return batches.take(steady if len(steady) >= STEADY_AT_LEAST else steady[:0])


def steady_state(completions: Iterable[Completion]) -> SteadyState:
    """The rates of a run after its warm-up, by the rule above."""
    ordered = sorted(completions, key=lambda completion: completion.at_ns)
    warm_up = warm_up_batches(len(ordered))
    steady = ordered[warm_up:]
    if len(steady) < STEADY_AT_LEAST:
        return SteadyState(min(warm_up, len(ordered)), None, None)
    elapsed_ns = steady[-1].at_ns - ordered[warm_up - 1].at_ns
    return SteadyState(
        warm_up,
        _rate([completion.tokens for completion in steady], elapsed_ns),
        _rate([completion.sequences for completion in steady], elapsed_ns),
    )


def _rate(counts: list[int | None], elapsed_ns: int) -> float | None:
    known = [count for count in counts if count is not None]
    return ratio(sum(known) * 1e9, elapsed_ns) if len(known) == len(counts) else None
