# SPDX-License-Identifier: MIT
"""How host and device stood to each other in each batch: who waited for whom.

A stage's device interval lasts from its start event to its end event on the stream, so a device that waits for
the next kernel to be launched looks busy, but for a forward that is replayed and takes its own time. What gives it
away is the **lag**: how long after the host had launched everything the device was done. A device that has enough to
do ends long after the host; one that lives from hand to mouth ends within microseconds of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from virnuc_profiler.analysis.timing.interval_columns import length_by_group
from virnuc_profiler.telemetry.batch_table import DEVICE_TIMES_DROPPED, BatchTable
from virnuc_profiler.telemetry.records import BatchRecord
from virnuc_profiler.telemetry.stage_columns import Column, Mask, StageColumns

COPY_STAGES: Final = frozenset({"h2d", "d2h"})

PROMPT_NS: Final = 100_000
"""The device is done "with the host" if it ends within this time of it: a last kernel and its event take some tens
of µs, and the largest kernel of a layer of the 3B model about 200 µs."""

PROMPT_SHARE: Final = 0.05
"""Or within this share of the batch's device time, for batches whose last kernels are long."""

MIN_BLOCKED_NS: Final = 300_000
"""A stage that only enqueues a copy returns within tens of µs; one that kept the host this long waited."""


class Launch(NamedTuple):
    """One batch's way through the device. Times in ns.

    Attributes:
        batch_index: the batch.
        host_start_ns: when the host began with the first device stage.
        host_end_ns: when it was through with the last.
        device_start_ns: when the device got to the first.
        device_end_ns: when it had done the last.
        device_ns: time covered by the device intervals.
        blocking_stage: the stage in which the host waited for the device, if there was one.
        launch_bound: the device ended with the host although the host was held by no stage: it was waiting for
            launches at the end, and most likely all the time. (Or the host waited inside a stage that it had also
            launched from; the times of a batch do not tell this apart, SM activity does.)
        exposed_ns: device time of the copies at its start that ended with the host: the device had nothing queued and
            waited for them, and the forward pass behind them, to be launched.
    """

    batch_index: int
    host_start_ns: int
    host_end_ns: int
    device_start_ns: int
    device_end_ns: int
    device_ns: int
    blocking_stage: str | None
    launch_bound: bool
    exposed_ns: int


def launches_of(batches: Iterable[BatchRecord], clock_slack_ns: int = 0) -> list[Launch]:
    """The launches of all batches that have the device times of every stage that should have them.

    Args:
        batches: the records.
        clock_slack_ns: how far device times may be off on the host's axis.
    """
    table = BatchTable.from_records(batches)
    stages = table.stages()
    stages = stages[stages.on_device & ~table.flagged(DEVICE_TIMES_DROPPED)[stages.batch]]
    if not len(stages):
        return []
    first = np.flatnonzero(np.diff(stages.batch, prepend=-1))  # each batch's first stage; a batch's stages are in a row
    batch = stages.batch[first]
    host_end, device_end = (np.maximum.reduceat(ends, first) for ends in (stages.host_end_ns, stages.device_end_ns))
    device_ns = length_by_group(stages.device_start_ns, stages.device_end_ns, stages.batch, len(table))[batch]
    holding = np.where(blocked_ns(stages, clock_slack_ns) > 0, np.arange(len(stages)), -1)
    holder = np.maximum.reduceat(holding, first)
    prompt = device_end - host_end <= np.maximum(PROMPT_NS, PROMPT_SHARE * device_ns) + clock_slack_ns
    columns = (
        table.column("index")[batch],
        np.minimum.reduceat(stages.host_start_ns, first),
        host_end,
        np.minimum.reduceat(stages.device_start_ns, first),
        device_end,
        device_ns,
    )
    return list(
        map(
            Launch,
            *(column.tolist() for column in columns),
            [None if place < 0 else stages.names[stages.name[place]] for place in holder.tolist()],
            (prompt & (holder < 0)).tolist(),
            np.add.reduceat(_exposed_ns(stages, first), first).tolist(),
        )
    )


def launch_of(batch: BatchRecord, clock_slack_ns: int = 0) -> Launch | None:
    """A batch's launch; None without device times."""
    return next(iter(launches_of([batch], clock_slack_ns)), None)


def _exposed_ns(stages: StageColumns, first: Column) -> Column:
    """Device time of the exposed copies: those with nothing else before them in their batch; 0 for other stages."""
    other = np.cumsum(~(stages.named(COPY_STAGES) & launched_late(stages)))  # so many up to and with each stage
    before = np.append(0, other)[first]
    until = np.repeat(before, np.diff(first, append=len(stages)))
    return np.where(other == until, stages.device_end_ns - stages.device_start_ns, 0)


def launched_late(stages: StageColumns) -> Mask:
    """Whether the device was done with a stage as soon as the host had launched it, and so had waited for it.

    Args:
        stages: with device intervals.
    """
    late: Mask = (stages.device_end_ns - stages.host_end_ns <= PROMPT_NS) & (blocked_ns(stages) == 0)
    return late


def blocked_ns(stages: StageColumns, clock_slack_ns: int = 0) -> Column:
    """How long a stage kept the host until the device was done with it; 0 if it only enqueued.

    The host left the stage when the device did, and far later than enqueuing takes. For a copy that is proof enough:
    it enqueues one operation. Another stage may have been busy launching, so there the host must also have spent
    half of its time in the stage before the device even got to it.

    Args:
        stages: with device intervals.
        clock_slack_ns: how far device times may be off on the host's axis.
    """
    host_ns = stages.host_end_ns - stages.host_start_ns
    left_together = stages.host_end_ns >= stages.device_end_ns - PROMPT_NS - clock_slack_ns
    ahead_ns = stages.device_start_ns - stages.host_start_ns
    waited = stages.named(COPY_STAGES) | (2 * ahead_ns >= host_ns)
    return np.where(left_together & (host_ns >= MIN_BLOCKED_NS) & waited, host_ns, 0)
