# SPDX-License-Identifier: MIT
"""The stages of many batches as columns, for arithmetic on all of them at once."""

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
    """Stages in the order of their batches, (stages,) each. Times in ns, or ``NOT_MEASURED``.

    Attributes:
        names: of the stages, by number.
        batch: the place of a stage's batch among the batches; never falls.
        name: the number of its name.
        host_start_ns: see ``StageRecord``, as for the next three.
        host_end_ns: alike.
        device_start_ns: alike.
        device_end_ns: alike.
    """

    names: tuple[str, ...]
    batch: Column
    name: Column
    host_start_ns: Column
    host_end_ns: Column
    device_start_ns: Column
    device_end_ns: Column

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def on_device(self) -> Mask:
        """Those that have a device interval."""
        found: Mask = (self.device_start_ns != NOT_MEASURED) & (self.device_end_ns != NOT_MEASURED)
        return found

    def named(self, names: Container[str]) -> Mask:
        """Those with one of these names."""
        wanted = np.array([name in names for name in self.names], np.bool_)
        return wanted[self.name]

    def __getitem__(self, chosen: NDArray[Any]) -> StageColumns:
        """The stages under a mask, or at some places."""
        columns = (
            self.batch,
            self.name,
            self.host_start_ns,
            self.host_end_ns,
            self.device_start_ns,
            self.device_end_ns,
        )
        return StageColumns(self.names, *(column[chosen] for column in columns))
