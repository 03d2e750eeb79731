# SPDX-License-Identifier: MIT
"""When batches were complete.

A batch is complete when the device has done its last stage. The host may find that out much later: a loop with batches
in flight takes results only when it needs the room, so a wait for data delays that by several batches. By the host's
time, work of before that wait would seem to be done after it, and the device faster than it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from virnuc_profiler.telemetry.batch_table import DEVICE_TIMES_DROPPED, BatchTable
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED, Column, Mask

_NEVER = int(np.iinfo(np.int64).max)


class Completions(NamedTuple):
    """When batches were complete.

    Attributes:
        at_ns: (batches,), on the host's axis.
        sure: (batches,), where that was measured, and is no mere bound. In a run without any device times those of the
            host are all there is, and count as sure.
    """

    at_ns: Column
    sure: Mask


def completions_of(batches: BatchTable) -> Completions:
    """When each batch was complete.

    Of a batch without device times it is known that it was complete when the host was through with it, and not after a
    batch that began later and was timed: devices work in the order of the launches.
    """
    device_ns = _device_end_ns(batches)
    known: Mask = device_ns != NOT_MEASURED
    begun_ns, ended_ns = batches.column("host_start_ns"), batches.column("host_end_ns")
    order = np.argsort(begun_ns, kind="stable")
    later_ns = np.where(known, device_ns, _NEVER)[order]
    at_most_ns = np.empty_like(later_ns)
    at_most_ns[order] = np.minimum.accumulate(later_ns[::-1])[::-1]
    at_ns = np.where(known, device_ns, np.maximum(np.minimum(at_most_ns, ended_ns), begun_ns))
    return Completions(at_ns, known if known.any() else np.ones_like(known))


def completed_ns(batches: BatchTable) -> Column:
    """When each batch was complete, or by when, (batches,)."""
    return completions_of(batches).at_ns


def _device_end_ns(batches: BatchTable) -> Column:
    stages = batches.stages()
    stages = stages[stages.on_device & ~batches.flagged(DEVICE_TIMES_DROPPED)[stages.batch]]
    end_ns = np.full(len(batches), NOT_MEASURED)
    np.maximum.at(end_ns, stages.batch, stages.device_end_ns)
    return end_ns
