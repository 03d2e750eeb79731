# SPDX-License-Identifier: MIT
"""What the device did in some steady batches: busy share, gaps, launches, and kernels by stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from virnuc_profiler.analysis.kernels.captured_batches import captured_batches, reference_ns
from virnuc_profiler.analysis.kernels.device_trace import DeviceTrace, TraceRows
from virnuc_profiler.analysis.kernels.launch_stages import launching_stages
from virnuc_profiler.analysis.kernels.trace_clock import fit_trace_clock
from virnuc_profiler.analysis.timing.interval_columns import clip, length
from virnuc_profiler.telemetry.parts.kernel_records import ClockAnchor, KernelActivity, KernelTotal, StageActivity
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.stage_columns import Column, Mask, StageColumns

KERNELS_PER_STAGE: Final = 20
"""Number of kernels with the largest total times that are kept for each stage."""

MAX_NAME: Final = 200
"""Length to which names of kernels are cut; those of templates have thousands of characters."""

MAX_SLACK_NS: Final = 20_000
"""Upper bound of the tolerance between device intervals and the trace. Within it, a copy may be given to a neighbor."""

_Intervals = tuple[Column, Column]


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """Operations with their times on the monotonic clock."""

    operations: TraceRows
    start_ns: Column
    end_ns: Column

    def take(self, chosen: Mask) -> _Work:
        return _Work(self.operations.take(chosen), self.start_ns[chosen], self.end_ns[chosen])

    @property
    def intervals(self) -> _Intervals:
        return self.start_ns, self.end_ns

    @property
    def launches(self) -> int:
        """Number of different correlation ids: one for each launching call."""
        return len(np.unique(self.operations.correlation))


def kernel_activity(
    run: RunResult,
    trace: DeviceTrace,
    anchors: Sequence[ClockAnchor],
    *,
    started_ns: int,
    num_batches: int,
    measured: RunResult | None = None,
) -> KernelActivity:
    """Return the device's work in the captured batches of a run.

    Args:
        run: The run during which CUPTI recorded.
        trace: What it recorded.
        anchors: Calls by which the clocks are compared.
        started_ns: Time on the monotonic clock from which on CUPTI recorded everything.
        num_batches: Number of batches to capture, or fewer if the run has fewer.
        measured: The measured run over the same batches, without CUPTI; None if there is none.

    Raises:
        ValueError: Fewer than two batches began after `started_ns`.
    """
    captured = captured_batches(run.batches, started_ns, num_batches)
    window = captured.window
    clock = fit_trace_clock(trace, anchors)
    operations = trace.operations
    work = _Work(operations, clock.monotonic(operations.start_ns), clock.monotonic(operations.end_ns))
    stages = run.batches.stages
    aligned_ns = (run.device.alignment_uncertainty_ns or 0) + (run.device.alignment_residual_ns or 0)
    slack_ns = min(MAX_SLACK_NS, aligned_ns + (clock.error_ns or MAX_SLACK_NS))
    stage_of = launching_stages(trace, clock, stages, slack_ns)
    in_batch = np.isin(stages.batch, captured.places)
    launched_by = {name: np.append(in_batch & stages.named({name}), False)[stage_of] for name in run.stage_names}
    ours = np.append(in_batch, False)[stage_of]  # NO_STAGE is the last position, the one that was appended
    unstaged = np.append(np.zeros(len(stages), np.bool_), True)[stage_of]
    elsewhere = unstaged & (work.start_ns >= window[0]) & (work.start_ns < window[1])
    parts = {name: work.take(mask) for name, mask in [*launched_by.items(), (None, elsewhere)] if mask.any()}
    busy = clip(*work.intervals, window)
    busy_ns, idle_ns = length(*busy), _idle_inside(stages[stages.on_device], busy, window)
    return KernelActivity(
        batches=len(captured.places),
        first_batch=int(run.batches.columns["index"][captured.places[0]]),
        window_ns=window[1] - window[0],
        busy_ns=busy_ns,
        idle_in_stages_ns=idle_ns,
        idle_between_ns=None if idle_ns is None else window[1] - window[0] - busy_ns - idle_ns,
        launches=work.take(ours | elsewhere).launches,
        operations=int((ours | elsewhere).sum()),
        reference_ns=reference_ns(run, captured, started_ns, measured),
        clock_error_ns=clock.error_ns,
        stages=tuple(_stage_activity(name, part, work, stages[in_batch]) for name, part in parts.items()),
        kernels=tuple(total for name, part in parts.items() for total in _largest(name, part.operations)),
    )


def _idle_inside(stages: StageColumns, busy: _Intervals, window: tuple[int, int]) -> int | None:
    """Return the time of the window in device stages in which nothing ran; None without device stages."""
    return _uncovered(clip(*_device_intervals(stages), window), busy) if len(stages) else None


def _uncovered(some: _Intervals, others: _Intervals) -> int:
    """Return the time that is covered by `some` and not by `others`, ns."""
    both = (np.concatenate((some[0], others[0])), np.concatenate((some[1], others[1])))
    return length(*both) - length(*others)


def _device_intervals(stages: StageColumns) -> _Intervals:
    return stages.device_start_ns, stages.device_end_ns


def _stage_activity(name: str | None, part: _Work, work: _Work, stages: StageColumns) -> StageActivity:
    """Return the totals of one stage.

    Args:
        name: Name of the stage, or None.
        part: Operations that it launched.
        work: All operations, by which its device intervals may be filled too.
        stages: Stages of the captured batches.
    """
    timed = stages[stages.on_device & stages.named(() if name is None else {name})]
    intervals = _device_intervals(timed)
    return StageActivity(
        stage=name,
        launches=part.launches,
        operations=len(part.operations),
        total_ns=int((part.end_ns - part.start_ns).sum()),
        busy_ns=length(*part.intervals),
        interval_ns=length(*intervals) if len(timed) else None,
        idle_ns=_uncovered(intervals, work.intervals) if len(timed) else None,
    )


def _largest(stage: str | None, operations: TraceRows) -> Iterator[KernelTotal]:
    """Yield the kernels of a stage with the largest total times, the largest first."""
    totals_ns = np.zeros(len(operations.names), np.int64)
    counts = np.bincount(operations.name, minlength=len(operations.names))
    np.add.at(totals_ns, operations.name, operations.end_ns - operations.start_ns)
    for number in np.argsort(-totals_ns, kind="stable")[:KERNELS_PER_STAGE].tolist():
        if counts[number]:
            name = operations.names[number][:MAX_NAME]
            yield KernelTotal(stage, name, int(counts[number]), int(totals_ns[number]))
