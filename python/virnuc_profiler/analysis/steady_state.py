# SPDX-License-Identifier: MIT
"""The steady part of a run: what is left after warm-up.

The first run of each shape is slow (lazy loading of kernels, allocator growth, an empty loader), so the first 10 %
of the batches to complete are left out, at least 3. What remains is measured from completion to completion: the
tokens of the remaining batches over the time from the last warm-up completion to the last completion. Waits for
data in the middle of the run belong to it.

A batch is complete when the device has copied its results out. The host may find that out much later: it takes results
only when it needs the room, and a wait for data at the start of the run delays that by several batches. Measured from
there, work of before the window would count as work of the window, and the device would seem faster than it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from virnuc_profiler.analysis.intervals import Interval
from virnuc_profiler.telemetry.batch_table import DEVICE_TIMES_DROPPED, HAS_PACKING, BatchTable
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED, Column

WARM_UP_SHARE = 0.1
WARM_UP_AT_LEAST = 3
STEADY_AT_LEAST = 3
"""Fewer remaining batches than this say nothing about a steady state."""


class Completion(NamedTuple):
    """When a batch was complete, and what it carried; None where that was not measured."""

    at_ns: int
    sequences: int | None
    tokens: int | None


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
    return max(WARM_UP_AT_LEAST, math.ceil(WARM_UP_SHARE * count))


def completed_ns(batches: BatchTable) -> Column:
    """When each batch was complete, (batches,): for the device, or for the host where no device time was measured."""
    stages = batches.stages()
    stages = stages[stages.on_device]
    completed = np.full(len(batches), NOT_MEASURED)
    np.maximum.at(completed, stages.batch, stages.device_end_ns)
    known = (completed != NOT_MEASURED) & ~batches.flagged(DEVICE_TIMES_DROPPED)
    return np.where(known, completed, batches.column("host_end_ns"))


def completions(batches: BatchTable) -> list[Completion]:
    """The completion of every batch, in the order of `batches`."""
    packed = batches.flagged(HAS_PACKING).tolist()
    counts = [
        [count if known else None for count, known in zip(batches.column(field).tolist(), packed, strict=True)]
        for field in ("sequences", "tokens")
    ]
    return list(map(Completion, completed_ns(batches).tolist(), *counts))


def steady_batches(batches: BatchTable) -> BatchTable:
    """The batches after warm-up in order of completion; none if too few remain to speak of a steady state."""
    order = np.argsort(completed_ns(batches), kind="stable")
    steady = order[warm_up_batches(len(order)) :]
    return batches.take(steady if len(steady) >= STEADY_AT_LEAST else steady[:0])


def steady_state(completions: Iterable[Completion]) -> SteadyState:
    """The rates of a run after its warm-up, by the rule above."""
    ordered = sorted(completions, key=lambda completion: completion.at_ns)
    warm_up = warm_up_batches(len(ordered))
    steady = ordered[warm_up:]
    if len(steady) < STEADY_AT_LEAST:
        return SteadyState(min(warm_up, len(ordered)), None, None, None)
    window = ordered[warm_up - 1].at_ns, steady[-1].at_ns
    elapsed_ns = window[1] - window[0]
    return SteadyState(
        warm_up,
        window,
        _rate([completion.tokens for completion in steady], elapsed_ns),
        _rate([completion.sequences for completion in steady], elapsed_ns),
    )


def _rate(counts: list[int | None], elapsed_ns: int) -> float | None:
    known = [count for count in counts if count is not None]
    return ratio(sum(known) * 1e9, elapsed_ns) if len(known) == len(counts) else None
