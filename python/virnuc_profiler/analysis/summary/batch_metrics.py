# SPDX-License-Identifier: MIT
"""The telemetry metrics of one batch, and of all batches of a run.

Batches in flight overlap in time: the next one opens before this one ends, so the time from a batch's start to its
end says how long it took, not how fast the run went. Rates are therefore over a batch's **interval**: from the
completion of the batch before it to its own completion (see ``completion``), the first from its own start. Intervals
tile the run without overlap, so sums over batches count no time twice, and the mean of a batch's rates weighted by its
interval is the rate of the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np

from virnuc_profiler.analysis.gpu.activity import utilization_of
from virnuc_profiler.analysis.gpu.throttling import ThrottleTimeline
from virnuc_profiler.analysis.timing.completion import completed_ns
from virnuc_profiler.analysis.timing.interval_columns import length_by_group
from virnuc_profiler.analysis.timing.intervals import Interval, difference, length
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.rates import ratio
from virnuc_profiler.telemetry.records import BatchRecord, GpuSamples, StageRecord
from virnuc_profiler.telemetry.run_result import RunResult

FULL_BELOW = 0.05
"""The loader is ahead: it made the host wait for less than this share of the batch's interval."""

STARVED_FROM = 0.25
"""The loader is behind: waiting took this share or more, so one that is always ahead could have finished the
batch in three quarters of the time."""


def batch_metrics(
    batch: BatchRecord,
    gpu: GpuSamples | None = None,
    interval: Interval | None = None,
    throttling: ThrottleTimeline | None = None,
    turn_ns: int | None = None,
) -> dict[str, Any]:
    """The metrics of one batch for ``TelemetryLogger.record_batch``; what was not measured is None.

    Args:
        batch: the record.
        gpu: NVML's readings of the run.
        interval: of the batch, see above; without one from its start to its end on the host.
        throttling: the clock-event reasons in `gpu`; made from it without one, which takes as long as there are
            readings.
        turn_ns: from when the host was through with the batch before to when it was through with this one, which is
            what its wait for data is a share of; the interval's length without it.

    Returns:
        The keys that the telemetry schema documents. Times are in ms, lengths in tokens.
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
        "gpu_util": None if gpu is None else utilization_of(interval, gpu.fast),
        "packing_efficiency": None if packing is None else packing.packing_efficiency,
        "wait_time_ms": None if wait_ns is None else wait_ns / 1e6,
        "num_sequences": None if packing is None else packing.sequences,
        "num_tokens": None if packing is None else packing.tokens,
        "queue_state": queue_state(wait_ns, interval_ns if turn_ns is None else turn_ns),
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
    """Batch index and metrics of each batch of a run, in the order the batches began.

    ``timestamp`` is when the batch was complete, by the run's ``started_at`` and the monotonic clock. A batch that was
    so in the same ns as the one before it has no rate.
    """
    intervals, turns = completion_intervals(run.batches), host_intervals_ns(run.batches)
    throttling = None if run.gpu is None else ThrottleTimeline(run.gpu)
    started = datetime.fromisoformat(run.started_at.replace("Z", "+00:00"))
    for number, batch in enumerate(run.batches):
        interval = intervals[number]
        ended = started + timedelta(microseconds=(interval[1] - run.host_start_ns) // 1000)
        yield (
            batch.index,
            {
                "timestamp": ended.isoformat(),
                **batch_metrics(batch, run.gpu, interval, throttling, turns[number]),
            },
        )


def completion_intervals(batches: BatchTable) -> list[Interval]:
    """Each batch's interval, ns, in the order of `batches`.

    The first to complete starts its own; every other one starts where the batch that completed before it was complete,
    also if it began later: what the loop did between the two is part of how fast it went.
    """
    return _tiled(batches.column("host_start_ns").tolist(), completed_ns(batches).tolist())


def host_intervals_ns(batches: BatchTable) -> list[int]:
    """The same by when the host was through with each batch: lengths, ns."""
    ends = batches.column("host_end_ns").tolist()
    return [end - start for start, end in _tiled(batches.column("host_start_ns").tolist(), ends)]


def _tiled(starts: list[int], ends: list[int]) -> list[Interval]:
    order = sorted(range(len(ends)), key=lambda place: (ends[place], starts[place]))
    found = list(zip(starts, ends, strict=True))
    for before, this in pairwise(order):
        found[this] = (ends[before], ends[this])
    return found


def waiting_ns(batch: BatchRecord) -> int | None:
    """Time spent waiting for the loader: ``fetch`` without the part of ``collate`` that lies inside it.

    None if the batch has no ``fetch``.
    """
    fetch = [(stage.host_start_ns, stage.host_end_ns) for stage in batch.stages if stage.name == "fetch"]
    collate = [(stage.host_start_ns, stage.host_end_ns) for stage in batch.stages if stage.name == "collate"]
    return difference(fetch, collate) if fetch else None


def waits_ns(batches: BatchTable) -> list[int | None]:
    """:func:`waiting_ns` of every batch."""
    stages = batches.stages()
    fetch, collate = (stages[stages.named({name})] for name in ("fetch", "collate"))
    both = stages[stages.named({"fetch", "collate"})]
    # What only fetch covers is what the two cover less what collate covers.
    covered, collating = (
        length_by_group(some.host_start_ns, some.host_end_ns, some.batch, len(batches)) for some in (both, collate)
    )
    measured = np.isin(np.arange(len(batches)), fetch.batch)
    waits = (covered - collating).tolist()
    return [wait if known else None for wait, known in zip(waits, measured.tolist(), strict=True)]


def queue_state(wait_ns: int | None, interval_ns: int) -> str | None:
    """How well the loader kept up with a batch, by the share of its interval that was spent waiting.

    ``full`` below 5 %, ``starved`` from 25 %, ``normal`` between. A loop has no queue to look into, so this is
    what a full or an empty one would have meant for it. With batches in flight the wait for one may lie in the
    interval of another; over a run it evens out. None if the wait was not measured.
    """
    if wait_ns is None:
        return None
    if wait_ns >= STARVED_FROM * interval_ns and wait_ns > 0:
        return "starved"
    return "full" if wait_ns < FULL_BELOW * interval_ns or wait_ns == 0 else "normal"


def _stage_times(stages: tuple[StageRecord, ...]) -> Mapping[str, Mapping[str, float] | None]:
    """Host and device time by stage; a stage that occurs more than once is added up, overlaps counted once."""
    by_name: dict[str, list[StageRecord]] = {}
    for stage in stages:
        by_name.setdefault(stage.name, []).append(stage)
    host = {
        name: length((stage.host_start_ns, stage.host_end_ns) for stage in same) / 1e6 for name, same in by_name.items()
    }
    device = {}
    for name, same in by_name.items():
        intervals = [
            (stage.device_start_ns, stage.device_end_ns)
            for stage in same
            if stage.device_start_ns is not None and stage.device_end_ns is not None
        ]
        if len(intervals) == len(same):  # part of a stage's time would pass for the whole of it
            device[name] = length(intervals) / 1e6
    return {"stage_host_ms": host, "stage_device_ms": device or None}
