# SPDX-License-Identifier: MIT
"""Completion times of batches.

A batch is complete when the device has completed its last stage. The host may notice this much later: a loop with
batches in flight fetches results only when it needs their buffers, so a wait for data delays that by several batches.
By host times, work from before the wait would seem to complete after it, and the device would look too fast.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from virnuc_profiler.telemetry.batch_table import BatchTable
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
    stages = batches.timed_stages
    begun_ns, ended_ns = batches.columns["host_start_ns"], batches.columns["host_end_ns"]
    device_ns = np.full(len(begun_ns), NOT_MEASURED)
    np.maximum.at(device_ns, stages.batch, stages.device_end_ns)
    known: Mask = device_ns != NOT_MEASURED
    order = np.argsort(begun_ns, kind="stable")
    later_ns = np.where(known, device_ns, _NEVER)[order]
    at_most_ns = np.empty_like(later_ns)
    at_most_ns[order] = np.minimum.accumulate(later_ns[::-1])[::-1]
    at_ns = np.where(known, device_ns, np.maximum(np.minimum(at_most_ns, ended_ns), begun_ns))
    return Completions(at_ns, known if known.any() else np.ones_like(known))
