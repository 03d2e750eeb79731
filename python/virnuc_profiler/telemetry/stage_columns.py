# SPDX-License-Identifier: MIT
"""Stages of many batches as columns, for arithmetic on all of them at once."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.int64]
Mask = NDArray[np.bool_]

NOT_MEASURED = int(np.iinfo(np.int64).min)
"""Stands for None in a column of integers."""


@dataclass(frozen=True, slots=True, eq=False)
class StageColumns:
    """Stages ordered by batch. All columns have the shape (stages,).

    Attributes:
        names: Names of the stages, by number.
        batch: Position of each stage's batch in the table of batches; never decreases.
        name: Number of each stage's name.
        host_start_ns: Start on the host, ns.
        host_end_ns: End on the host, ns.
        device_start_ns: Start on the device, ns, or ``NOT_MEASURED``.
        device_end_ns: End on the device, ns, or ``NOT_MEASURED``.
        timestamped: 1 if the stage's own kernels took its device times and one launch queued them all, so that
            these times include no launch gaps.
    """

    names: tuple[str, ...]
    batch: Column
    name: Column
    host_start_ns: Column
    host_end_ns: Column
    device_start_ns: Column
    device_end_ns: Column
    timestamped: Column

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def on_device(self) -> Mask:
        """Mask of the stages that have a device interval."""
        found: Mask = (self.device_start_ns != NOT_MEASURED) & (self.device_end_ns != NOT_MEASURED)
        return found

    def named(self, names: Container[str]) -> Mask:
        """Return a mask of the stages with some names.

        Args:
            names: Names to select.
        """
        wanted = np.fromiter(map(names.__contains__, self.names), np.bool_, len(self.names))
        return wanted[self.name]

    def __getitem__(self, chosen: NDArray[Any]) -> StageColumns:
        """Return the stages selected by a mask or by positions."""
        return StageColumns(
            self.names,
            self.batch[chosen],
            self.name[chosen],
            self.host_start_ns[chosen],
            self.host_end_ns[chosen],
            self.device_start_ns[chosen],
            self.device_end_ns[chosen],
            self.timestamped[chosen],
        )
