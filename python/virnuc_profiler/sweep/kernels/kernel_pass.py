# SPDX-License-Identifier: MIT
"""A further pass over the batches of a measured run, some of them under CUPTI; its results become part of that run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from virnuc_profiler.analysis.kernels.captured_batches import LEAD_BATCHES
from virnuc_profiler.analysis.kernels.device_trace import read_device_trace
from virnuc_profiler.analysis.kernels.kernel_activity import kernel_activity
from virnuc_profiler.analysis.timing.steady_state import steady_state
from virnuc_profiler.capture.kernels.kernel_capture import capture_kernels
from virnuc_profiler.capture.profiler import BatchProfiler
from virnuc_profiler.errors import LibraryUnavailable
from virnuc_profiler.telemetry.parts.kernel_records import KernelActivity
from virnuc_profiler.telemetry.run_result import RunResult

if TYPE_CHECKING:
    from virnuc_profiler.targets.batch_source import BatchSource

MAX_SKIPPED: Final = 64
"""Most batches to run before CUPTI, because the warm-up of a long run is a tenth of it, and the process is warm."""

Batches = Callable[[BatchProfiler], Iterator[object]]
"""Starts a loop over the batches of the run, which records each of them with the profiler that it is given."""


def add_kernels(run: RunResult, batches: Batches, *, num_batches: int = 20, device: Any = "auto") -> RunResult:
    """Capture the kernels of some steady batches of a run, which are run again for it, and return the run with them.

    Args:
        run: The measured run, which must have ended.
        batches: Function that starts the loop of the run again: it returns an iterator that does one batch whenever it
            is advanced, and records it with the profiler that it is given.
        num_batches: Number of batches to capture.
        device: Device that the loop runs on, as for :class:`BatchProfiler`.

    Raises:
        LibraryUnavailable: There is no GPU, or CUPTI recorded nothing.
        ValueError: The loop has too few batches.
    """
    return replace(run, kernels=captured_activity(run, batches, num_batches=num_batches, device=device))


def save_kernels(run_path: Path, batches: Batches, *, num_batches: int, device: Any) -> None:
    """Add kernels to a saved run, as :func:`add_kernels` does.

    Args:
        run_path: The saved run.
        batches: The loop of the run.
        num_batches: Number of batches to capture.
        device: Device that the loop runs on.

    Raises:
        LibraryUnavailable: There is no GPU, or CUPTI recorded nothing.
        ValueError: The loop has too few batches.
        OutputError: The run cannot be written.
    """
    run = RunResult.load(run_path, max_bytes=sys.maxsize)
    add_kernels(run, batches, num_batches=num_batches, device=device).save(run_path)


def captured_activity(run: RunResult, batches: Batches, *, num_batches: int, device: Any) -> KernelActivity:
    """Return the device's work in some steady batches of a run, which are run again for it.

    Args:
        run: The measured run.
        batches: The loop of the run.
        num_batches: Number of batches to capture.
        device: Device that the loop runs on.

    Raises:
        LibraryUnavailable: There is no GPU, or CUPTI recorded nothing.
        ValueError: The loop has too few batches.
    """
    skip = batches_to_skip(len(run.batches), steady_state(run.batches).warm_up_batches)
    timed = run.batches.device_stages
    capture = capture_kernels(
        batches,
        num_batches=num_batches,
        skip=skip,
        device=device,
        stages=run.stage_names,
        device_stages=[timed.names[number] for number in np.unique(timed.name)] or None,
    )
    trace = read_device_trace(capture.trace).on_device(capture.device)
    if not len(trace.operations):
        raise LibraryUnavailable(
            "CUPTI recorded no kernel: another tool may use it, such as nsys, ncu or cuda-gdb; end that tool, or leave "
            "--kernels out"
        )
    return kernel_activity(
        capture.run,
        trace,
        capture.anchors,
        started_ns=capture.started_ns,
        num_batches=num_batches,
        measured=run,
    )


def loop_of(source: BatchSource) -> Batches:
    """Return a source of batches as a loop, which opens it when it starts, and closes it when it ends.

    Args:
        source: Source of the batches of one run, not opened yet.
    """

    def loop(profiler: BatchProfiler) -> Iterator[object]:
        try:
            source.open()
            yield from source.run(profiler, None)
        finally:
            source.close()

    return loop


def batches_to_skip(batches: int, warm_up: int) -> int:
    """Return how many batches to run before CUPTI: those of the warm-up, or fewer of a short or very long run.

    Args:
        batches: Number of batches of the measured run.
        warm_up: Number of batches of its warm-up.
    """
    return max(0, min(warm_up, MAX_SKIPPED, batches - 2 * LEAD_BATCHES))
