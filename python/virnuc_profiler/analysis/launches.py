# SPDX-License-Identifier: MIT
"""How host and device stood to each other in each batch: who waited for whom.

A stage's device interval lasts from its start event to its end event on the stream, so a device that waits for
the next kernel to be launched looks busy. What gives it away is the **lag**: how long after the host had launched
everything the device was done. A device that has enough to do ends long after the host; one that lives from hand
to mouth ends within microseconds of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from virnuc_profiler.analysis.intervals import Interval, length
from virnuc_profiler.telemetry.records import BatchRecord, StageRecord

COPY_STAGES: Final = frozenset({"h2d", "d2h"})

PROMPT_NS: Final = 100_000
"""The device is done "with the host" if it ends within this time of it: a last kernel and its event take some tens
of µs, and the largest kernel of a layer of the 3B model about 200 µs."""

PROMPT_SHARE: Final = 0.05
"""Or within this share of the batch's device time, for batches whose last kernels are long."""

HELD_NS: Final = 300_000
"""A stage that only enqueues a copy returns within tens of µs; one that kept the host this long waited."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One batch's way through the device. Times in ns.

    Attributes:
        batch_index: the batch.
        host_start_ns: when the host began with the first device stage.
        host_end_ns: when it was through with the last.
        device_start_ns: when the device got to the first.
        device_end_ns: when it had done the last.
        device_ns: time covered by the device intervals.
        held_by: the stage in which the host waited for the device, if there was one.
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
    held_by: str | None
    launch_bound: bool
    exposed_ns: int


def launches_of(batches: Iterable[BatchRecord], clock_slack_ns: int = 0) -> list[Launch]:
    """The launches of all batches that have the device times of every stage that should have them."""
    found = (launch_of(batch, clock_slack_ns) for batch in batches)
    return [launch for launch in found if launch is not None]


def launch_of(batch: BatchRecord, clock_slack_ns: int = 0) -> Launch | None:
    """A batch's launch; None without device times.

    Args:
        batch: the record.
        clock_slack_ns: how far device times may be off on the host's axis.
    """
    stages = [stage for stage in batch.stages if stage.device_ns is not None]
    if not stages or batch.device_times_dropped:
        return None
    intervals = [device_interval(stage) for stage in stages]
    host_end, device_end = max(stage.host_end_ns for stage in stages), max(end for _, end in intervals)
    device_ns = length(intervals)
    held = next((stage.name for stage in reversed(stages) if held_ns(stage, clock_slack_ns)), None)
    prompt = device_end - host_end <= max(PROMPT_NS, PROMPT_SHARE * device_ns) + clock_slack_ns
    return Launch(
        batch_index=batch.index,
        host_start_ns=min(stage.host_start_ns for stage in stages),
        host_end_ns=host_end,
        device_start_ns=min(start for start, _ in intervals),
        device_end_ns=device_end,
        device_ns=device_ns,
        held_by=held,
        launch_bound=prompt and held is None,
        exposed_ns=sum(end - start for start, end in _exposed_copies(stages)),
    )


def _exposed_copies(stages: Iterable[StageRecord]) -> Iterator[Interval]:
    for stage in stages:
        if stage.name not in COPY_STAGES or not launched_late(stage):
            return
        yield device_interval(stage)


def launched_late(stage: StageRecord) -> bool:
    """Whether the device was done with a stage as soon as the host had launched it, and so had waited for it."""
    assert stage.device_end_ns is not None
    return stage.device_end_ns - stage.host_end_ns <= PROMPT_NS and not held_ns(stage)


def held_ns(stage: StageRecord, clock_slack_ns: int = 0) -> int:
    """How long a stage kept the host until the device was done with it; 0 if it only enqueued.

    The host left the stage when the device did, and far later than enqueuing takes. For a copy that is proof enough:
    it enqueues one operation. Another stage may have been busy launching, so there the host must also have spent
    half of its time in the stage before the device even got to it.
    """
    if stage.device_start_ns is None or stage.device_end_ns is None:
        return 0
    left_together = stage.host_end_ns >= stage.device_end_ns - PROMPT_NS - clock_slack_ns
    if not left_together or stage.host_ns < HELD_NS:
        return 0
    ahead_ns = stage.device_start_ns - stage.host_start_ns
    return stage.host_ns if stage.name in COPY_STAGES or 2 * ahead_ns >= stage.host_ns else 0


def device_interval(stage: StageRecord) -> Interval:
    """The device interval of a stage that has one."""
    assert stage.device_start_ns is not None
    assert stage.device_end_ns is not None
    return stage.device_start_ns, stage.device_end_ns
