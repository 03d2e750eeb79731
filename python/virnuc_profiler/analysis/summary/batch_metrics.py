# SPDX-License-Identifier: MIT
"""Telemetry metrics of one batch, and of all batches of a run.

Batches in flight overlap, so the time from a batch's start to its end is its latency and not its share of the run.
Rates therefore refer to a batch's **interval**: from the completion of the previous batch (see ``completion``), or its
own start for the first batch, to its own completion. Intervals tile the run without overlap, so the mean of the rates
of all batches, weighted by their intervals, is the rate of the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from virnuc_profiler.analysis.gpu.activity import utilization_during
from virnuc_profiler.analysis.gpu.throttling import ThrottleTimeline
from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.analysis.timing.interval_columns import length_by_group
from virnuc_profiler.analysis.timing.intervals import Interval, difference, length
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.records import BatchRecord, GpuSamples, StageRecord
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.stage_columns import Column

FULL_BELOW = 0.05
"""Share of a batch's interval spent waiting below which the loader counts as ``full``."""

STARVED_FROM = 0.25
"""Share of a batch's interval spent waiting from which the loader counts as ``starved``: a fast loader would have
finished the batch in three quarters of the time."""


def batch_metrics(
    batch: BatchRecord,
    gpu: GpuSamples | None = None,
    interval: Interval | None = None,
    throttling: ThrottleTimeline | None = None,
    host_interval_ns: int | None = None,
) -> dict[str, Any]:
    """Return the metrics of one batch for ``TelemetryLogger.record_batch``; what was not measured is None.

    Args:
        batch: Batch of the run.
        gpu: NVML readings of the run, or None.
        interval: Interval of the batch, ns; by default from its start to its end on the host.
        throttling: Clock-event reasons of `gpu`. By default they are computed, which takes time for every reading.
        host_interval_ns: Time from the end of the previous batch on the host to the end of this one, with which the
            wait for data is compared; by default the length of the interval.

    Returns:
        Metrics under the keys of the telemetry schema. Times are in ms, lengths in tokens.
    """
    interval = interval or (batch.host_start_ns, batch.host_end_ns)
    interval_ns = interval[1] - interval[0]
    wait_ns = waiting_ns(batch)
    packing = batch.packing
    if throttling is None and gpu is not None:
        throttling = ThrottleTimeline(gpu)
    return {
        "tokens_per_sec": None if packing is None else ratio(packing.tokens * 1e9, interval_ns),
        "sequences_per_sec": None if packing is None else ratio(packing.sequences * 1e9, interval_ns),
        "gpu_util": None if gpu is None else utilization_during(interval, gpu).value,
        "packing_efficiency": None if packing is None else packing.packing_efficiency,
        "wait_time_ms": None if wait_ns is None else wait_ns / 1e6,
        "num_sequences": None if packing is None else packing.sequences,
        "num_tokens": None if packing is None else packing.tokens,
        "queue_state": queue_state(wait_ns, interval_ns if host_interval_ns is None else host_interval_ns),
        "interval_ms": interval_ns / 1e6,
        **_stage_times(batch.stages),
        "device_times_dropped": batch.device_times_dropped,
        "throttle_reasons": None if throttling is None else throttling.reasons_of(batch),
        "min_length": None if packing is None else packing.min_length,
        "mean_length": None if packing is None or not packing.sequences else packing.mean_length,
        "max_length": None if packing is None else packing.max_length,
        "sum_squared_lengths": None if packing is None else packing.sum_squared_lengths,
        "padding_tokens": None if packing is None else packing.padding_tokens,
        "token_budget": None if packing is None else packing.token_budget,
        "oversize": None if packing is None else packing.oversize,
    }


def metrics_of_run(run: RunResult) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield index and metrics of each batch of a run, in the order in which the batches began.

    ``timestamp`` is the completion time of the batch, computed from the run's ``started_at`` and the monotonic clock. A
    batch that completed in the same ns as the previous one has no rate.

    Args:
        run: Run to describe.
    """
    intervals, host_intervals = completion_intervals(run.batches), host_intervals_ns(run.batches)
    throttling = None if run.gpu is None else ThrottleTimeline(run.gpu)
    started = datetime.fromisoformat(run.started_at.replace("Z", "+00:00"))
    for number, batch in enumerate(run.batches):
        interval = intervals[number]
        ended = started + timedelta(microseconds=(interval[1] - run.host_start_ns) // 1000)
        yield (
            batch.index,
            {
                "timestamp": ended.isoformat(),
                **batch_metrics(batch, run.gpu, interval, throttling, host_intervals[number]),
            },
        )


def completion_intervals(batches: BatchTable) -> list[Interval]:
    """Return the interval of each batch, ns, in the order of the batches.

    The first batch to complete starts at its own start. Each other batch starts at the completion of the previous one,
    even if it began later, because the time between the two belongs to the rate of the loop.

    Args:
        batches: Batches of the run.
    """
    begins, ends = _tiled(batches.columns["host_start_ns"], completions_of(batches).at_ns)
    return list(zip(begins.tolist(), ends.tolist(), strict=True))


def host_intervals_ns(batches: BatchTable) -> list[int]:
    """Return the time from the end of the previous batch on the host to the end of each batch, ns.

    Args:
        batches: Batches of the run.
    """
    begins, ends = _tiled(batches.columns["host_start_ns"], batches.columns["host_end_ns"])
    durations: list[int] = (ends - begins).tolist()
    return durations


def _tiled(starts: Column, ends: Column) -> tuple[Column, Column]:
    """Return starts and ends of intervals that begin where the previous one, by end, ended."""
    order = np.lexsort((starts, ends))
    begins = starts.copy()
    begins[order[1:]] = ends[order[:-1]]
    return begins, ends


def waiting_ns(batch: BatchRecord) -> int | None:
    """Return the time spent waiting for the loader: ``fetch`` without the part of ``collate`` inside it.

    Args:
        batch: Batch of the run. If it has no ``fetch``, the result is None.
    """
    spent: dict[str, list[Interval]] = {"fetch": [], "collate": []}
    for stage in batch.stages:
        if stage.name in spent:
            spent[stage.name].append((stage.host_start_ns, stage.host_end_ns))
    return difference(spent["fetch"], spent["collate"]) if spent["fetch"] else None


def waits_ns(batches: BatchTable) -> list[int | None]:
    """Return the :func:`waiting_ns` of every batch.

    Args:
        batches: Batches of the run.
    """
    stages = batches.stages
    both = stages[stages.named({"fetch", "collate"})]
    collate = both[both.named({"collate"})]
    count = len(batches)
    covered = length_by_group(both.host_start_ns, both.host_end_ns, both.batch, count)
    collating = length_by_group(collate.host_start_ns, collate.host_end_ns, collate.batch, count)
    # The time that only fetch covers is the time that both cover minus the time that collate covers.
    waits = (covered - collating).astype(object)
    fetches = np.bincount(both.batch, minlength=count) - np.bincount(collate.batch, minlength=count)
    waits[fetches == 0] = None
    found: list[int | None] = waits.tolist()
    return found


def queue_state(wait_ns: int | None, interval_ns: int) -> str | None:
    """Return how well the loader kept up with a batch: ``full``, ``normal`` or ``starved``.

    The loop cannot inspect a queue, so the state follows from the share of the interval spent waiting: ``full`` below
    5 %, ``starved`` from 25 %. With batches in flight the wait for one batch may lie in the interval of another, which
    evens out over a run.

    Args:
        wait_ns: Time spent waiting for the batch; None, if it was not measured, gives None.
        interval_ns: Length of the interval.
    """
    if wait_ns is None:
        return None
    if wait_ns >= STARVED_FROM * interval_ns and wait_ns > 0:
        return "starved"
    return "full" if wait_ns < FULL_BELOW * interval_ns or wait_ns == 0 else "normal"


def _stage_times(stages: tuple[StageRecord, ...]) -> Mapping[str, Mapping[str, float] | None]:
    """Return host and device time by stage. Times of a repeated stage are added up, and overlaps count once."""
    host: dict[str, list[Interval]] = {}
    device: dict[str, list[Interval]] = {}
    for stage in stages:
        host.setdefault(stage.name, []).append((stage.host_start_ns, stage.host_end_ns))
        if stage.device_start_ns is not None and stage.device_end_ns is not None:
            device.setdefault(stage.name, []).append((stage.device_start_ns, stage.device_end_ns))
    host_ms: dict[str, float] = {}
    device_ms: dict[str, float] = {}
    for name, intervals in host.items():
        host_ms[name] = length(intervals) / 1e6
        if len(device.get(name, ())) == len(intervals):  # the time of a part of a stage is not that of all
            device_ms[name] = length(device[name]) / 1e6
    return {"stage_host_ms": host_ms, "stage_device_ms": device_ms or None}
