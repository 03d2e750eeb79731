# SPDX-License-Identifier: MIT
"""Similar batches that take very different times on the device.

Other work on the device does that, but so do lower clocks, waits for launches inside a stage, and work that the
recorded numbers of a batch do not show. The device times alone cannot tell these apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from virnuc_profiler.analysis.diagnosis.launches import Launch
from virnuc_profiler.analysis.model_cost import ModelShape, forward_flops
from virnuc_profiler.analysis.timing.statistics import measured, percentile
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.records import PackingRecord

UNSTEADY_RATIO: Final = 1.5
"""Minimum ratio of p90 to p10 of device time per unit of work, over batches of similar size. Different sequence lengths
alone change it by some 20 %: attention is slower per FLOP than matrix products, and short sequences have less of it."""

SIMILAR_SIZE: Final = 0.25
"""Batches are compared if their sizes are within this share of the medians."""

TREND_RATIO: Final = 1.25
"""Minimum ratio of the medians of the last and the first third that counts as a trend."""

_MIN_BATCHES: Final = 10


class UnsteadyDevice(NamedTuple):
    """Device times that differ for no recorded reason.

    Attributes:
        slow_to_fast: p90 over p10 of the device time per unit of work.
        lost_share: Share of the device's time that would be saved if all batches were as fast as the fastest tenth.
        trend: Median cost in the last third of the batches over that in the first third.
        clocks_sampled: Whether SM clocks were sampled, and do not explain the difference.
    """

    slow_to_fast: float
    lost_share: float
    trend: float
    clocks_sampled: bool


def unsteady_device(
    launches: Sequence[Launch],
    packings: Mapping[int, PackingRecord],
    shape: ModelShape | None,
    clocks_mhz: Sequence[float | None],
) -> UnsteadyDevice | None:
    """Return how much the device times of similar batches differ beyond what SM clocks explain; None if they do not.

    Only batches for which the device alone set the pace are compared: batches that are not launch-bound and in which
    the host was not blocked by a stage. Batches without packing statistics are not compared, because nothing says
    that they are similar.

    Args:
        launches: Launches of the window.
        packings: Packing statistics by batch index.
        shape: Shape of the model, by which device times are compared per FLOP; None to compare them per token, over
            batches whose sequences are of similar lengths too.
        clocks_mhz: SM clocks sampled in the window.
    """
    own = [launch for launch in launches if not launch.launch_bound and launch.blocking_stage is None]
    packed = [(launch, packings[launch.batch_index]) for launch in own if launch.batch_index in packings]
    similar = _similar([_size(packing, shape) for _, packing in packed])
    worked = [
        (launch.device_ns, work)
        for (launch, packing), comparable in zip(packed, similar, strict=True)
        if comparable and (work := _work(packing, shape))
    ]
    costs = [ns / work for ns, work in worked]
    fast, slow = percentile(costs, 10), percentile(costs, 90)
    if len(costs) < _MIN_BATCHES or not fast or slow is None:
        return None
    low_clock, high_clock = percentile(clocks_mhz, 10), percentile(clocks_mhz, 90)
    explained = ratio(high_clock, low_clock) or 1.0
    if slow / fast < UNSTEADY_RATIO * explained:
        return None
    needed_ns = fast * explained * sum(work for _, work in worked)
    return UnsteadyDevice(
        slow_to_fast=slow / fast,
        lost_share=max(0.0, 1 - needed_ns / sum(ns for ns, _ in worked)),
        trend=_trend(costs),
        clocks_sampled=bool(measured(clocks_mhz)),
    )


def _work(packing: PackingRecord, shape: ModelShape | None) -> float:
    return packing.tokens if shape is None else forward_flops(packing.tokens, packing.sum_squared_lengths, shape)


def _size(packing: PackingRecord, shape: ModelShape | None) -> tuple[int, ...]:
    """Return the numbers in which similar batches agree.

    Without the model's shape, the work on the squared lengths is unknown. Without a token budget, the batch may be
    padded, and padding is work too.
    """
    squares = packing.sum_squared_lengths if shape is None else 0
    padded = packing.sequences * packing.max_length if packing.token_budget is None else 0
    return packing.tokens, squares, padded


def _similar(sizes: Sequence[tuple[int, ...]]) -> list[bool]:
    """Return which sizes are close to the median of each number."""
    middles = [percentile(column, 50) or 0.0 for column in zip(*sizes, strict=True)]
    return [
        all(abs(number - middle) <= SIMILAR_SIZE * middle for number, middle in zip(size, middles, strict=True))
        for size in sizes
    ]


def _trend(costs: Sequence[float]) -> float:
    third = len(costs) // 3
    return ratio(percentile(costs[-third:], 50), percentile(costs[:third], 50)) or 1.0
