# SPDX-License-Identifier: MIT
"""The rate of a run that is too short for a steady one, with its start-up left out."""

from __future__ import annotations

import math

import numpy as np

from virnuc_profiler.analysis.model_cost import ModelShape, flops_by_batch
from virnuc_profiler.analysis.timing.completion import completions_of
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.rates import ratio

MIN_BATCHES = 2


def rate_after_first_batch(batches: BatchTable, shape: ModelShape | None = None) -> float | None:
    """Return the sequences per second of a whole run at the pace at which it completed all batches but the first.

    Batches are compared by their work, as for a steady rate. Warm-up is part of the pace, and nothing is known of its
    precision, so this says little of the long run; but it does not count the start of workers as work.

    Args:
        batches: Batches of the run, in any order.
        shape: Shape of the model, from which their FLOPs follow; None to compare them by tokens.

    Returns:
        Sequences per second; None with fewer than two batches whose completion was measured, or if batches were not
        counted.
    """
    found = completions_of(batches)
    known = np.flatnonzero(found.measured)
    if not batches.all_packed or len(known) < MIN_BATCHES:
        return None
    order = known[np.argsort(found.at_ns[known], kind="stable")]
    work = batches.columns["tokens"].astype(np.float64) if shape is None else flops_by_batch(batches, shape)
    first, last = order[0], order[-1]
    later = found.at_ns > found.at_ns[first]
    pace = ratio(math.fsum(work[later].tolist()) * 1e9, int(found.at_ns[last] - found.at_ns[first]))
    sequences = int(batches.columns["sequences"].sum())
    return None if pace is None else ratio(sequences * pace, math.fsum(work.tolist()))
