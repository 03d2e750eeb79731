# SPDX-License-Identifier: MIT
"""Gaps behind the first copies of a batch, which exist because the host waited for the device before the batch.

A host that waits until the device has nothing left to do begins the next batch with an empty queue. The gap before the
batch's first copy is attributed to the wait (see ``gaps``), but the device then also idles between this copy and the
forward, while the host prepares and launches it. Without the wait, that would have happened during the work before.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from virnuc_profiler.analysis.diagnosis.bottlenecks import COPYING, LAUNCHING, OTHER_HOST_WORK, SYNCHRONIZING
from virnuc_profiler.analysis.diagnosis.observation import Observation

_WAITS: Final = (SYNCHRONIZING, COPYING)
_CONSEQUENCES: Final = (LAUNCHING, OTHER_HOST_WORK)


def consequences_of_waits(observation: Observation) -> Iterator[tuple[str, str, int]]:
    """Yield the parts of such gaps: the cause of the wait, the cause that the part is counted under, and ns.

    A gap that is longer than the device's work on the batch before could not have been hidden, and is left out.

    Args:
        observation: Measurements of the run.
    """
    work_ns = {launch.device_end_ns: launch.device_ns for launch in observation.launches}
    copies = {
        launch.device_start_ns: launch.device_start_ns + launch.exposed_ns
        for launch in observation.launches
        if launch.exposed_ns
    }
    for before, gap in pairwise(observation.gaps.gaps):
        wait = next((cause for cause in _WAITS if cause in before.causes), None)
        follows = copies.get(before.end_ns) == gap.start_ns
        if wait is not None and follows and gap.duration_ns <= work_ns.get(before.start_ns, 0):
            yield from ((wait, cause, gap.causes[cause]) for cause in _CONSEQUENCES if cause in gap.causes)
