# SPDX-License-Identifier: MIT
"""Batches with device times, through the stand-in driver."""

import time
from typing import Any

from tests.support.standin import CudaControl
from virnuc_profiler import _core

STAGES = ["fetch", "h2d", "forward", "emit"]
DEVICE_STAGES = ["h2d", "forward"]
STREAM = 0x77
MS = 1_000_000
BACKLOG = 300 * MS
"""Work to queue before the measurement, so that the host's pace does not affect device times."""


def new_timeline(**options: Any) -> _core.Timeline:
    # No anchors but those at the start and the end, unless asked for: the tests count calls.
    settings: dict[str, Any] = {"device": 0, "stream": STREAM, "clock_sync_interval_ms": 1e9}
    return _core.Timeline(STAGES, DEVICE_STAGES, **(settings | {"collect_interval_ms": 1.0} | options))


def run_batch(timeline: _core.Timeline, cuda: CudaControl, index: int = 0) -> None:
    with timeline.begin_batch(index) as batch:
        batch.mark("fetch")
        batch.mark("h2d")
        cuda.launch(STREAM, 1 * MS)
        batch.mark("forward")
        cuda.launch(STREAM, 3 * MS)
        batch.mark("emit")


def device_durations(timeline: _core.Timeline) -> dict[str, list[int]]:
    """Return the device durations by stage name; NOT_MEASURED where there is none."""
    durations: dict[str, list[int]] = {name: [] for name in STAGES}
    for row in timeline.stages():
        measured = row["device_start_ns"] != _core.NOT_MEASURED and row["device_end_ns"] != _core.NOT_MEASURED
        duration = int(row["device_end_ns"] - row["device_start_ns"]) if measured else _core.NOT_MEASURED
        durations[STAGES[row["stage"]]].append(duration)
    return durations


def wait_until(condition: Any) -> None:
    """Wait for another thread; the timeout of the test is the limit."""
    while not condition():
        time.sleep(0.001)
