# SPDX-License-Identifier: MIT
"""Completion times of batches.

A batch is complete when the device has completed its last stage. The host may notice this much later: a loop with
batches in flight fetches results only when it needs their buffers, so a wait for data delays that by several batches.
By host times, work from before the wait would seem to complete after it, and the device would look too fast.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from virnuc_profiler.telemetry.batch_table import DEVICE_TIMES_DROPPED, BatchTable
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED, Column, Mask

_NEVER = int(np.iinfo(np.int64).max)


class Completions(NamedTuple):
    """Completion times of batches. Both columns have the shape (batches,).

    Attributes:
        at_ns: Completion time on the host's clock.
        measured: Whether the time was measured instead of being an upper bound. Without any device times, those of the
            host count as measured.
    """

    at_ns: Column
    measured: Mask


def completions_of(batches: BatchTable) -> Completions:
    """Return the completion time of each batch.

    A batch without device times completed before the host finished it, and before later batches with device times,
    because devices work in the order of the launches.

    Args:
        batches: Batches of the run.
    """
    device_ns = _device_end_ns(batches)
    known: Mask = device_ns != NOT_MEASURED
    begun_ns, ended_ns = batches.columns["host_start_ns"], batches.columns["host_end_ns"]
    order = np.argsort(begun_ns, kind="stable")
    later_ns = np.where(known, device_ns, _NEVER)[order]
    at_most_ns = np.empty_like(later_ns)
    at_most_ns[order] = np.minimum.accumulate(later_ns[::-1])[::-1]
    at_ns = np.where(known, device_ns, np.maximum(np.minimum(at_most_ns, ended_ns), begun_ns))
    return Completions(at_ns, known if known.any() else np.ones_like(known))


def completed_ns(batches: BatchTable) -> Column:
    """Return the completion time of each batch, or an upper bound of it, as a column of shape (batches,).

    Args:
        batches: Batches of the run.
    """
    return completions_of(batches).at_ns


def _device_end_ns(batches: BatchTable) -> Column:
    stages = batches.stages
    stages = stages[stages.on_device & ~batches.flagged(DEVICE_TIMES_DROPPED)[stages.batch]]
    end_ns = np.full(len(batches), NOT_MEASURED)
    np.maximum.at(end_ns, stages.batch, stages.device_end_ns)
    return end_ns
