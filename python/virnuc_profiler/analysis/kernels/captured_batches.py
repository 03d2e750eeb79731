# SPDX-License-Identifier: MIT
"""The batches that a capture of kernels is about, and the time that the same ones took without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.stage_columns import Column

LEAD_BATCHES: Final = 4
"""Recorded batches before the captured ones: starting CUPTI drains the device, and these fill its queue again."""

MIN_REFERENCE_BATCHES: Final = 3
"""Smallest number of batches before CUPTI was started that say how long batches take without it."""

_CONTENT: Final = ("sequences", "tokens", "sum_squared_lengths")


@dataclass(frozen=True, slots=True, eq=False)
class CapturedBatches:
    """Batches of a run that were captured as a whole.

    Attributes:
        before: Position of the batch whose completion begins the window.
        places: Positions of the captured batches, in order of completion.
        window: Time from the completion of `before` to that of the last captured batch, ns.
    """

    before: int
    places: Column
    window: Interval


def captured_batches(batches: BatchTable, started_ns: int, num_batches: int) -> CapturedBatches:
    """Choose the captured batches of a run.

    Only batches that began after CUPTI was started count. The first of them are left out, and so is what the loop did
    after the last captured batch, such as running dry.

    Args:
        batches: Batches of the run.
        started_ns: Time on the monotonic clock from which on CUPTI recorded everything.
        num_batches: Number of batches to capture, or fewer if there are fewer.

    Raises:
        ValueError: Fewer than two batches began after `started_ns`.
    """
    completed = completions_of(batches).at_ns
    whole = np.flatnonzero(batches.columns["host_start_ns"] >= started_ns)
    if len(whole) < 2:
        raise ValueError(
            f"{len(whole)} of {len(batches):,} batches began after CUPTI was started, and it takes at least 2: use "
            "more sequences, or smaller batches"
        )
    order = whole[np.argsort(completed[whole], kind="stable")]
    lead = min(LEAD_BATCHES, max(1, len(order) - num_batches))
    places = order[lead : lead + num_batches]
    return CapturedBatches(int(order[lead - 1]), places, (int(completed[order[lead - 1]]), int(completed[places[-1]])))


def reference_ns(
    run: RunResult, captured: CapturedBatches, started_ns: int, measured: RunResult | None = None
) -> int | None:
    """Return the time that the captured batches take without CUPTI; None if nothing can be compared.

    It is that of the same batches of the measured run, if it has them with the same contents. Otherwise it is the time
    that as much work took right before CUPTI was started, in tokens or else in batches. Neither is taken if preparation
    such as recording a CUDA graph was noted in it, or if the run was stopped meanwhile.

    Args:
        run: The run under CUPTI.
        captured: The captured batches.
        started_ns: Time on the monotonic clock at which CUPTI was started.
        measured: The measured run over the same batches; None if there is none.
    """
    same_ns = None if measured is None else _same_batches_ns(run.batches, captured, measured)
    return _before_capture_ns(run, captured, started_ns) if same_ns is None else same_ns


def _same_batches_ns(batches: BatchTable, captured: CapturedBatches, measured: RunResult) -> int | None:
    other = measured.batches
    wanted = np.append(captured.before, captured.places)
    place_of = {index: place for place, index in enumerate(other.columns["index"].tolist())}
    places = [place_of[index] for index in batches.columns["index"][wanted].tolist() if index in place_of]
    if len(places) < len(wanted):
        return None
    if any((batches.columns[field][wanted] != other.columns[field][places]).any() for field in _CONTENT):
        return None
    completed = completions_of(other).at_ns[places]
    return _quiet_ns(measured, int(completed[0]), int(completed[1:].max()))


def _before_capture_ns(run: RunResult, captured: CapturedBatches, started_ns: int) -> int | None:
    completed = completions_of(run.batches).at_ns
    before = np.flatnonzero(completed < started_ns)
    before = before[np.argsort(completed[before], kind="stable")][-(len(captured.places) + 1) :]
    if len(before) < MIN_REFERENCE_BATCHES + 1:
        return None
    taken_ns = _quiet_ns(run, int(completed[before[0]]), int(completed[before[-1]]))
    work = run.batches.columns["tokens"] if run.batches.all_packed else np.ones(len(completed), np.int64)
    done = int(work[before[1:]].sum())
    if taken_ns is None or not done:
        return None
    return round(taken_ns * int(work[captured.places].sum()) / done)


def _quiet_ns(run: RunResult, start_ns: int, end_ns: int) -> int | None:
    """Return the length of a window; None if it is empty, or if there was preparation or a stop in it."""
    parts = () if run.start_up is None else run.start_up.parts
    disturbances = [(part.start_ns, part.end_ns) for part in parts]
    disturbances += [(stop.start_ns, stop.end_ns) for stop in run.stops or ()]
    if start_ns >= end_ns or any(start < end_ns and end > start_ns for start, end in disturbances):
        return None
    return end_ns - start_ns
