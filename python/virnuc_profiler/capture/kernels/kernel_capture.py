# SPDX-License-Identifier: MIT
"""Run some batches of a loop under CUPTI, through PyTorch's own profiler."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns, sleep, time_ns
from typing import Any, Final

from virnuc_profiler.capture.profiler import BatchProfiler
from virnuc_profiler.capture.start_up.preparation import latest_preparation_ns
from virnuc_profiler.capture.target import resolve_target
from virnuc_profiler.errors import LibraryUnavailable
from virnuc_profiler.telemetry.parts.kernel_records import ClockAnchor
from virnuc_profiler.telemetry.parts.start_up_records import RECORDING_GRAPHS
from virnuc_profiler.telemetry.records import STAGES
from virnuc_profiler.telemetry.run_result import RunResult

NOTHING_TO_RECORD: Final = "without a GPU, CUPTI has nothing to record"

EXTRA_BATCHES: Final = 12
"""Batches that are run under CUPTI beside those to capture: until the device's queue is full again after CUPTI was
started, and so that it is still full when the last of them completes."""

_ANCHOR_PAUSES_S: Final = (0.0002, 0.0005, 0.0011, 0.0)
"""Pauses after each comparison of the clocks before the batches, and again after them. A loop that synchronizes
regularly has no calls at these distances."""

_MAX_WARM_UP_BATCHES: Final = 1000
_MAX_WARM_UP_NS: Final = 30_000_000_000
"""Limits of a warm-up that goes on because graphs are still recorded."""

_END: Final = object()

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KernelCapture:
    """Batches that ran under CUPTI, and what it recorded.

    Attributes:
        run: The batches, also those that ran before CUPTI was started.
        trace: The trace, in Chrome's format.
        anchors: Calls by which the clocks of both are compared.
        started_ns: Time on the monotonic clock from which on CUPTI recorded everything.
        device: CUDA ordinal of the device.
    """

    run: RunResult
    trace: Mapping[str, Any]
    anchors: tuple[ClockAnchor, ...]
    started_ns: int
    device: int


def capture_kernels(
    batches: Callable[[BatchProfiler], Iterator[object]],
    *,
    num_batches: int,
    skip: int,
    device: Any = "auto",
    stages: Sequence[str] = STAGES,
    device_stages: Sequence[str] | None = None,
) -> KernelCapture:
    """Run the first batches of a loop, the later ones of them under CUPTI.

    Only launches, kernels, copies and memsets are recorded, without the operators of PyTorch that launched them:
    recording those would slow down the host much more.

    Args:
        batches: Function that starts the loop: it returns an iterator that does one batch whenever it is advanced, and
            records each one with the profiler that it is given. The iterator is closed before the loop has ended.
        num_batches: Number of batches to capture.
        skip: Number of batches to run before CUPTI is started. More are run while CUDA graphs are recorded, until none
            was recorded for `num_batches` batches.
        device: Device that the loop runs on, as for :class:`BatchProfiler`.
        stages: Names of the stages that the loop marks.
        device_stages: Names of the stages that get a device interval; None as for :class:`BatchProfiler`.

    Raises:
        LibraryUnavailable: There is no GPU, or this PyTorch cannot record it.
        ValueError: The loop ended before CUPTI was started.
    """
    target = resolve_target(device)
    if target.ordinal is None:
        raise LibraryUnavailable(f"{NOTHING_TO_RECORD} ({target.reason or 'the run is on the CPU'})")
    _require_activities()
    profiler = BatchProfiler(
        device=device,
        stages=stages,
        device_stages=device_stages,
        nvtx_ranges=False,
        sample_gpu=False,
        run_id="kernels",
    )
    with profiler:
        iterator = batches(profiler)
        try:
            _warm_up(iterator, skip, quiet=num_batches)
            trace, anchors, started_ns = _record(iterator, num_batches + EXTRA_BATCHES, target.ordinal)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
    return KernelCapture(profiler.result, trace, anchors, started_ns, target.ordinal)


def _warm_up(iterator: Iterator[object], skip: int, quiet: int) -> None:
    """Advance a loop `skip` times, and on while a CUDA graph was recorded within its last `quiet` batches."""
    started_ns = noted_ns = monotonic_ns()
    since = done = 0
    while done < skip or (since < quiet and noted_ns > started_ns and done < _MAX_WARM_UP_BATCHES):
        if monotonic_ns() - started_ns > _MAX_WARM_UP_NS and done >= skip:
            return
        if not _advance(iterator, 1):
            raise ValueError(
                f"the loop ended after {done:,} batches, before CUPTI was to be started: use more sequences"
            )
        done += 1
        latest_ns = latest_preparation_ns(RECORDING_GRAPHS)
        since = since + 1 if latest_ns <= noted_ns else 0
        noted_ns = max(noted_ns, latest_ns)


def _require_activities() -> None:
    import torch

    known = torch.profiler.supported_activities()  # type: ignore[no-untyped-call]
    if torch.profiler.ProfilerActivity.CUDA not in known:
        raise LibraryUnavailable(
            f"PyTorch {torch.__version__} cannot record kernels: it was built without CUDA, or without Kineto; install "
            "a build for CUDA"
        )


def _record(
    iterator: Iterator[object], count: int, ordinal: int
) -> tuple[Mapping[str, Any], tuple[ClockAnchor, ...], int]:
    """Advance the loop under CUPTI; return the trace, the anchors, and the time from which on it is complete."""
    import torch

    # Kineto must not tear CUPTI down: graphs that were recorded under it could crash when they are replayed later.
    os.environ.setdefault("TEARDOWN_CUPTI", "0")
    # Kineto would announce start and stop on stderr. A failure shows in the trace, which is then empty.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    tracer = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
    tracer.start()
    try:
        first = _anchors(ordinal)
        started_ns = monotonic_ns()
        _advance(iterator, count)
        last = _anchors(ordinal)
    finally:
        tracer.stop()
    with tempfile.TemporaryDirectory(prefix="virnuc_profiler_") as folder:
        path = Path(folder, "trace.json")
        tracer.export_chrome_trace(str(path))
        _log.debug("the trace of %s batches has %s bytes", count, path.stat().st_size)
        return json.loads(path.read_bytes()), (*first, *last), started_ns


def _anchors(ordinal: int) -> list[ClockAnchor]:
    import torch

    found = []
    for pause_s in _ANCHOR_PAUSES_S:
        before_ns = monotonic_ns()
        torch.cuda.synchronize(ordinal)
        after_ns = monotonic_ns()
        found.append(ClockAnchor(before_ns, after_ns, time_ns()))
        sleep(pause_s)
    return found


def _advance(iterator: Iterator[object], count: int) -> int:
    """Advance an iterator up to `count` times; return how often there was something."""
    done = 0
    for done in range(1, count + 1):
        if next(iterator, _END) is _END:
            return done - 1
    return done
