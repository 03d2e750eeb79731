# SPDX-License-Identifier: MIT
"""Timing of host and device in each batch: which one waited for the other.

A stage's device interval lasts from its start event to its end event on the stream, so a device that waits for the next
kernel to be launched looks busy (except in a replayed forward, which times itself). The **lag** reveals such waits: the
time from the host's last launch to the end of the device's work. A device with a full queue ends long after the host,
and a device that waits for launches ends within microseconds of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from virnuc_profiler.analysis.timing.interval_columns import length_by_group
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.stage_columns import Column, Mask, StageColumns

COPY_STAGES: Final = frozenset({"h2d", "d2h"})

PROMPT_NS: Final = 100_000
"""The device ends together with the host if it ends within this time after it. The last kernel and its event take some
tens of µs, and the largest kernel of a layer of the 3B model about 200 µs."""

PROMPT_SHARE: Final = 0.05
"""The same limit as a share of the batch's device time, for batches whose last kernels are long."""

MIN_BLOCKED_NS: Final = 300_000
"""Minimum host time of a stage that blocked the host. A stage that only enqueues a copy returns within tens of µs."""


class Launch(NamedTuple):
    """Timing of one batch on host and device.

    Attributes:
        batch_index: Index of the batch.
        host_start_ns: Start of the first device stage on the host.
        host_end_ns: End of the last device stage on the host.
        device_start_ns: Start of the first stage on the device.
        device_end_ns: End of the last stage on the device.
        device_ns: Time covered by the device intervals.
        blocking_stage: Stage in which the host waited for the device; None if there is none.
        launch_bound: Whether the device ended together with the host although no stage blocked the host. The device
            waited for launches at the end, and most likely all the time. A host that waits inside a stage that also
            launches work looks the same; only SM activity tells the two apart.
        exposed_ns: Device time of the first copies that ended together with the host. The device had an empty queue,
            and waited for these copies and the forward pass to be launched.
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


@dataclass(frozen=True, eq=False)
class Launches:
    """Launches of many batches as columns of shape (launches,), in the order of the batches; see :class:`Launch`.

    Attributes:
        names: Names of stages, by number.
        batch_index: Indices of the batches.
        host_start_ns: Starts of the first device stages on the host.
        host_end_ns: Ends of the last device stages on the host.
        device_start_ns: Starts of the first stages on the device.
        device_end_ns: Ends of the last stages on the device.
        device_ns: Times covered by the device intervals.
        blocking: Numbers of the stages in which the host waited for the device; -1 without one.
        launch_bound: Mask of the batches whose device ended together with the host.
        exposed_ns: Device times of the first copies that ended together with the host.
    """

    names: tuple[str, ...]
    batch_index: Column
    host_start_ns: Column
    host_end_ns: Column
    device_start_ns: Column
    device_end_ns: Column
    device_ns: Column
    blocking: Column
    launch_bound: Mask
    exposed_ns: Column

    def __len__(self) -> int:
        return len(self.batch_index)

    def records(self) -> list[Launch]:
        """Return the launches as records."""
        times = (self.host_start_ns, self.host_end_ns, self.device_start_ns, self.device_end_ns, self.device_ns)
        return list(
            map(
                Launch,
                *(column.tolist() for column in (self.batch_index, *times)),
                [None if number < 0 else self.names[number] for number in self.blocking.tolist()],
                self.launch_bound.tolist(),
                self.exposed_ns.tolist(),
            )
        )


def launches_of(batches: BatchTable, clock_slack_ns: int = 0) -> Launches:
    """Return the launches of all batches with complete device times.

    Args:
        batches: Batches of the run.
        clock_slack_ns: Tolerance between device and host times.
    """
    stages = batches.timed_stages
    if not stages.batch.size:
        nothing = np.zeros(0, np.int64)
        return Launches(stages.names, *(nothing,) * 7, nothing.astype(np.bool_), nothing)
    first = np.flatnonzero(np.diff(stages.batch, prepend=-1))  # position of each batch's first stage
    batch = stages.batch[first]
    host_end, device_end = (np.maximum.reduceat(ends, first) for ends in (stages.host_end_ns, stages.device_end_ns))
    device_ns = length_by_group(stages.device_start_ns, stages.device_end_ns, stages.batch, len(batches))[batch]
    blocking = np.where(blocked_ns(stages, clock_slack_ns) > 0, np.arange(len(stages)), -1)
    last_blocking = np.maximum.reduceat(blocking, first)
    prompt = device_end - host_end <= np.maximum(PROMPT_NS, PROMPT_SHARE * device_ns) + clock_slack_ns
    return Launches(
        names=stages.names,
        batch_index=batches.columns["index"][batch],
        host_start_ns=np.minimum.reduceat(stages.host_start_ns, first),
        host_end_ns=host_end,
        device_start_ns=np.minimum.reduceat(stages.device_start_ns, first),
        device_end_ns=device_end,
        device_ns=device_ns,
        blocking=np.where(last_blocking < 0, -1, stages.name[last_blocking]),
        launch_bound=prompt & (last_blocking < 0),
        exposed_ns=np.add.reduceat(_exposed_ns(stages, first), first),
    )


def _exposed_ns(stages: StageColumns, first: Column) -> Column:
    """Return the device time of exposed copies, which only copies precede in their batch; 0 for other stages."""
    other = np.cumsum(~(stages.named(COPY_STAGES) & launched_late(stages)))  # number of other stages up to each stage
    before = np.append(0, other)[first]
    until = np.repeat(before, np.diff(first, append=len(stages)))
    return np.where(other == until, stages.device_end_ns - stages.device_start_ns, 0)


def launched_late(stages: StageColumns) -> Mask:
    """Return a mask of the stages that the device completed as soon as the host had launched them.

    The device waited for such stages to be launched.

    Args:
        stages: Stages with device intervals.
    """
    late: Mask = (stages.device_end_ns - stages.host_end_ns <= PROMPT_NS) & (blocked_ns(stages) == 0)
    return late


def blocked_ns(stages: StageColumns, clock_slack_ns: int = 0) -> Column:
    """Return how long each stage blocked the host until the device completed it, ns; 0 if it only enqueued work.

    A blocked host leaves the stage together with the device, far later than enqueueing takes. This is sufficient for
    copies, which enqueue a single operation. Other stages may have been busy launching, so the host must also have
    spent half of its time in the stage before the device reached it.

    Args:
        stages: Stages with device intervals.
        clock_slack_ns: Tolerance between device and host times.
    """
    host_ns = stages.host_end_ns - stages.host_start_ns
    left_together = stages.host_end_ns >= stages.device_end_ns - PROMPT_NS - clock_slack_ns
    ahead_ns = stages.device_start_ns - stages.host_start_ns
    waited = stages.named(COPY_STAGES) | (2 * ahead_ns >= host_ns)
    return np.where(left_together & (host_ns >= MIN_BLOCKED_NS) & waited, host_ns, 0)
