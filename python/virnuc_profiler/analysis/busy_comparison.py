# SPDX-License-Identifier: MIT
"""The device's busy share in the steady part of a run, by our device intervals and by what a tracer saw run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from virnuc_profiler.analysis.interval_columns import clip, length
from virnuc_profiler.analysis.observation import observe
from virnuc_profiler.analysis.range_matching import ClockAgreement, MatchedStage
from virnuc_profiler.telemetry.run_result import RunResult


@dataclass(frozen=True, slots=True)
class BusyShares:
    """Two measurements of one share, 0 to 1, in one window of time.

    Attributes:
        window_ns: length of the window, the steady part of the run.
        intervals: union of our device intervals. A gap between two kernels of a stage counts as busy.
        operations: union of the operations that the stages launched. It does not.
    """

    window_ns: int
    intervals: float
    operations: float


def busy_shares(run: RunResult, pairs: Iterable[MatchedStage], clock: ClockAgreement | None) -> BusyShares | None:
    """Both shares; None where one of the two saw nothing on the device.

    Args:
        run: the run.
        pairs: its stages, and what the tracer has of them.
        clock: how the tracer's clock lies to ours.
    """
    operations = [operation for pair in pairs for operation in pair.projection.operations]
    seen = observe(run)
    if clock is None or not operations or seen.busy_share is None:
        return None
    starts = np.array([operation.start_ns for operation in operations])
    ends = np.array([operation.end_ns for operation in operations])
    offset_ns = round(clock.offset_ns)
    window = seen.window[0] + offset_ns, seen.window[1] + offset_ns
    return BusyShares(seen.window_ns, seen.busy_share, length(*clip(starts, ends, window)) / seen.window_ns)
