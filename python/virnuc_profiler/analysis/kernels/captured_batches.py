# SPDX-License-Identifier: MIT
"""The batches that a capture of kernels is about, and the time that the same ones took without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.analysis.timing.intervals import Interval
from virnuc_profiler.analysis.timing.steady_state import steady_state
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.rates import sequences_per_pass
from virnuc_profiler.telemetry.run_result import RunResult
from virnuc_profiler.telemetry.stage_columns import Column

LEAD_BATCHES: Final = 4
"""Recorded batches before the captured ones: starting CUPTI drains the device, and these fill its queue again."""

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


def reference_ns(batches: BatchTable, captured: CapturedBatches, measured: RunResult) -> int | None:
    """Return the time that the captured batches took in the measured run; None if nothing can be compared.

    It is that of the same batches if the run has them, with the same contents. Otherwise it is the time that as many
    tokens take at the run's steady rate.

    Args:
        batches: Batches of the run under CUPTI.
        captured: The captured batches.
        measured: The measured run.
    """
    same_ns = _same_batches_ns(batches, captured, measured.batches)
    if same_ns is not None:
        return same_ns
    taken = batches.take(captured.places)
    rate = steady_state(measured.batches, None, sequences_per_pass(measured.metadata)).tokens_per_sec
    return round(int(taken.columns["tokens"].sum()) / rate * 1e9) if rate and taken.all_packed else None


def _same_batches_ns(batches: BatchTable, captured: CapturedBatches, measured: BatchTable) -> int | None:
    wanted = np.append(captured.before, captured.places)
    place_of = {index: place for place, index in enumerate(measured.columns["index"].tolist())}
    places = [place_of[index] for index in batches.columns["index"][wanted].tolist() if index in place_of]
    if len(places) < len(wanted):
        return None
    if any((batches.columns[field][wanted] != measured.columns[field][places]).any() for field in _CONTENT):
        return None
    completed = completions_of(measured).at_ns[places]
    taken_ns = int(completed[1:].max() - completed[0])
    return taken_ns if taken_ns > 0 else None
