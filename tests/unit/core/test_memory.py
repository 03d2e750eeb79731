# SPDX-License-Identifier: MIT
"""100,000 tiny batches: all are recorded, within the documented memory."""

from pathlib import Path

from tests.support.standin import CudaControl, Standins
from virnuc_profiler import _core

BATCHES = 100_000
SLACK_BYTES = 4 << 20
"""Additional bytes that the allocator and the interpreter may keep: 42 per batch."""


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def profile_many_batches() -> list[int]:
    cuda = CudaControl()
    cuda.set_latency(0)
    timeline = _core.Timeline(["fetch", "forward"], ["forward"], device=0, stream=7, event_pool_size=65_536)

    def run(first: int, last: int) -> None:
        for index in range(first, last):
            with timeline.begin_batch(index) as batch:
                batch.mark("fetch")
                batch.mark("forward")

    run(0, 10_000)  # pools, queues and the interpreter's own caches have grown by then
    before, stated_before = resident_bytes(), timeline.memory_bytes
    run(10_000, BATCHES)
    grown, stated = resident_bytes() - before, timeline.memory_bytes - stated_before
    timeline.stop()
    records = BATCHES * (timeline.BATCH_RECORD_BYTES + 2 * timeline.STAGE_RECORD_BYTES)
    assert records <= timeline.memory_bytes <= records + 4 * timeline.CHUNK_BYTES
    batches = timeline.batches()
    assert len(batches) == BATCHES
    assert (batches["index"] == range(BATCHES)).all()
    assert (batches["stage_end"] - batches["stage_begin"] == 2).all()
    stages = timeline.stages()
    timed = stages["device_end_ns"][batches["stage_end"] - 1] != _core.NOT_MEASURED
    dropped = (batches["flags"] & timeline.DEVICE_TIMES_DROPPED) != 0
    assert (timed | dropped).all(), "device times were lost without being counted"
    return [grown, stated, int(timed.sum())]


def test_memory_grows_only_by_the_records(standins: Standins) -> None:
    grown, stated, timed = standins.call(profile_many_batches, timeout_s=240)
    assert grown <= stated + SLACK_BYTES
    assert timed > 0
