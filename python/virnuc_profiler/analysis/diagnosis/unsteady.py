# SPDX-License-Identifier: MIT
"""Similar batches that take very different times on the device.

Other work on the device does that, but so do lower clocks, waits for launches inside a stage, and work that the
recorded numbers of a batch do not show. The device times alone cannot tell these apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.analysis.diagnosis.launches import Launches
from virnuc_profiler.analysis.model_cost import ModelShape
from virnuc_profiler.analysis.timing.statistics import measured, percentile
from virnuc_profiler.telemetry.batch_table import HAS_PACKING, BatchTable
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.stage_columns import Column, Mask

UNSTEADY_RATIO: Final = 1.5
"""Minimum ratio of p90 to p10 of device time per unit of work, over batches of similar size. Different sequence lengths
alone change it by some 20 %: attention is slower per FLOP than matrix products, and short sequences have less of it."""

SIMILAR_SIZE: Final = 0.25
"""Batches are compared if their sizes are within this share of the medians."""

TREND_RATIO: Final = 1.25
"""Minimum ratio of the medians of the last and the first third that counts as a trend."""

_MIN_BATCHES: Final = 10
_COLUMNS: Final = ("tokens", "sum_squared_lengths", "token_budget", "sequences", "max_length")


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
    launches: Launches,
    batches: BatchTable,
    shape: ModelShape | None,
    clocks_mhz: Sequence[float | None],
) -> UnsteadyDevice | None:
    """Return how much the device times of similar batches differ beyond what SM clocks explain; None if they do not.

    Only batches for which the device alone set the pace are compared: batches that are not launch-bound and in which
    the host was not blocked by a stage. Batches without packing statistics are not compared, because nothing says
    that they are similar.

    Args:
        launches: Launches of the window.
        batches: Batches of the window.
        shape: Shape of the model, by which device times are compared per FLOP; None to compare them per token, over
            batches whose sequences are of similar lengths too.
        clocks_mhz: SM clocks sampled in the window.
    """
    own = ~launches.launch_bound & (launches.blocking < 0)
    device_ns, place = _with_packing(launches.device_ns[own], launches.batch_index[own], batches)
    columns = {name: batches.columns[name][place] for name in _COLUMNS}
    work = _work(columns, shape)
    chosen = _similar(columns, shape) & (work > 0)
    device_ns, work = device_ns[chosen], work[chosen]
    costs = (device_ns / work).tolist()
    fast, slow = percentile(costs, 10), percentile(costs, 90)
    if len(costs) < _MIN_BATCHES or not fast or slow is None:
        return None
    low_clock, high_clock = percentile(clocks_mhz, 10), percentile(clocks_mhz, 90)
    explained = ratio(high_clock, low_clock) or 1.0
    if slow / fast < UNSTEADY_RATIO * explained:
        return None
    needed_ns = fast * explained * float(work.sum())
    return UnsteadyDevice(
        slow_to_fast=slow / fast,
        lost_share=max(0.0, 1 - needed_ns / int(device_ns.sum())),
        trend=_trend(costs),
        clocks_sampled=bool(measured(clocks_mhz)),
    )


def _with_packing(device_ns: Column, index: Column, batches: BatchTable) -> tuple[Column, Column]:
    """Return the device times of the launches whose batch has packing statistics, and the position of that batch."""
    packed = np.flatnonzero(batches.flagged(HAS_PACKING))
    if not len(packed):
        return device_ns[:0], packed
    known = batches.columns["index"][packed]
    order = np.argsort(known, kind="stable")
    found = np.searchsorted(known[order], index, side="right") - 1  # the last of several with one index
    place = packed[order[np.maximum(found, 0)]]
    there = (found >= 0) & (batches.columns["index"][place] == index)
    return device_ns[there], place[there]


def _work(columns: Mapping[str, Column], shape: ModelShape | None) -> NDArray[np.float64]:
    tokens, squares = (columns[name].astype(np.float64) for name in ("tokens", "sum_squared_lengths"))
    if shape is None:
        return tokens
    hidden_size = float(shape.hidden_size)
    flops: NDArray[np.float64] = shape.num_layers * (24 * hidden_size**2 * tokens + 4 * hidden_size * squares)
    return flops


def _similar(columns: Mapping[str, Column], shape: ModelShape | None) -> Mask:
    """Return a mask of the batches that are close to the median of each number in which similar batches agree.

    Without the model's shape, the work on the squared lengths is unknown. Without a token budget, the batch may be
    padded, and padding is work too.
    """
    sizes = [columns["tokens"]]
    if shape is None:
        sizes.append(columns["sum_squared_lengths"])
    sizes.append(np.where(columns["token_budget"] > 0, 0, columns["sequences"] * columns["max_length"]))
    similar = np.ones(len(columns["tokens"]), np.bool_)
    for size in sizes:
        middle = percentile(size.tolist(), 50) or 0.0
        similar &= np.abs(size - middle) <= SIMILAR_SIZE * middle
    return similar


def _trend(costs: Sequence[float]) -> float:
    third = len(costs) // 3
    return ratio(percentile(costs[-third:], 50), percentile(costs[:third], 50)) or 1.0
