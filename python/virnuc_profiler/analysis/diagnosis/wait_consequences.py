# SPDX-License-Identifier: MIT
"""Gaps behind the first copies of a batch, which exist because the host waited for the device before the batch.

A host that waits until the device has nothing left to do begins the next batch with an empty queue. The gap before the
batch's first copy is attributed to the wait (see ``gaps``), but the device then also idles between this copy and the
forward, while the host prepares and launches it. Without the wait, that would have happened during the work before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from virnuc_profiler.analysis.diagnosis.bottlenecks import COPYING, LAUNCHING, OTHER_HOST_WORK, SYNCHRONIZING
from virnuc_profiler.analysis.diagnosis.observation import Observation
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED, Column

_WAITS: Final = (SYNCHRONIZING, COPYING)
_CONSEQUENCES: Final = (LAUNCHING, OTHER_HOST_WORK)


def consequences_of_waits(observation: Observation) -> Iterator[tuple[str, str, int]]:
    """Yield the parts of such gaps: the cause of the wait, the cause that the part is counted under, and ns.

    A gap that is longer than the device's work on the batch before could not have been hidden, and is left out.

    The parts are added up by wait and cause.

    Args:
        observation: Measurements of the run.
    """
    parts, launches = observation.gaps.parts, observation.launches
    before, after = slice(None, -1), slice(1, None)
    waits = {cause: parts.has_cause(cause)[before] for cause in _WAITS}
    copies = launches.exposed_ns > 0
    starts, exposed_ns = launches.device_start_ns[copies], launches.exposed_ns[copies]
    copied = _last_with(starts, starts + exposed_ns, parts.end_ns[before], NOT_MEASURED)
    work_ns = _last_with(launches.device_end_ns, launches.device_ns, parts.start_ns[before], 0)
    gap_ns = (parts.end_ns - parts.start_ns)[after]
    hidden = (copied == parts.start_ns[after]) & (gap_ns <= work_ns)
    first = ~np.logical_or.accumulate([np.zeros_like(hidden), *waits.values()][:-1], axis=0)
    for number, (wait, waited) in enumerate(waits.items()):
        for cause in _CONSEQUENCES:
            yield wait, cause, int(parts.spent_on(cause)[after][hidden & waited & first[number]].sum())


def _last_with(keys: Column, values: Column, wanted: Column, otherwise: int) -> Column:
    """Return, for each wanted key, the value of the last entry with that key."""
    if not len(keys):
        return np.full(len(wanted), otherwise)
    order = np.argsort(keys, kind="stable")
    place = np.searchsorted(keys[order], wanted, side="right") - 1
    found = order[np.maximum(place, 0)]
    return np.where((place >= 0) & (keys[found] == wanted), values[found], otherwise)
