# SPDX-License-Identifier: MIT
"""The stages of a run as lanes: all intervals of one stage, on the host or on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from virnuc_profiler.analysis.timing.interval_columns import length
from virnuc_profiler.telemetry.batch_table import BatchTable
from virnuc_profiler.telemetry.stage_columns import Column, StageColumns


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """All intervals of one stage on the host, or on the device. Columns have the shape (intervals,).

    Attributes:
        stage: Number of the stage's name in the run.
        name: Name of the stage.
        on_device: Whether the intervals are those of the device.
        batch: Position of each interval's batch in the table of batches; never decreases.
        start_ns: Starts on the host's clock.
        end_ns: Ends on the host's clock.
    """

    stage: int
    name: str
    on_device: bool
    batch: Column
    start_ns: Column
    end_ns: Column

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def covered_ns(self) -> int:
        """Time in which at least one batch was in the stage."""
        return length(self.start_ns, self.end_ns)


def stage_lanes(batches: BatchTable) -> list[Lane]:
    """Return the lanes of a run: the stages on the host, then those on the device, in the order of their names.

    Stages that no batch has make no lane.

    Args:
        batches: Batches of the run.
    """
    stages, timed = batches.stages, batches.device_stages
    return [*_lanes(stages, on_device=False), *_lanes(timed, on_device=True)]


def _lanes(stages: StageColumns, *, on_device: bool) -> list[Lane]:
    names: Sequence[int] = np.unique(stages.name).tolist()
    starts = stages.device_start_ns if on_device else stages.host_start_ns
    ends = stages.device_end_ns if on_device else stages.host_end_ns
    lanes = []
    for name in names:
        rows = np.flatnonzero(stages.name == name)
        lanes.append(Lane(name, stages.names[name], on_device, stages.batch[rows], starts[rows], ends[rows]))
    return lanes
