# SPDX-License-Identifier: MIT
"""The three tables of a run: batches, stages, and the samples of the GPU; docs/export-a-run.md has their columns.

All times are ns on the host's monotonic clock, which is the clock of all runs of one machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.telemetry.batch_table import DEVICE_TIMES_DROPPED, HAS_PACKING, BatchTable
from virnuc_profiler.telemetry.records import EnergyReading, GpmReading, GpuReading, ProcessReading
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED, Column, Mask, StageColumns
from virnuc_profiler.telemetry.tables.shown_run import ShownRun

TABLES: Final = ("batches", "stages", "samples")

_STATISTICS: Final = ("sequences", "tokens", "min_length", "max_length", "sum_squared_lengths", "token_budget")
_TIERS: Final[Mapping[str, type]] = {
    "fast": GpuReading,
    "gpm": GpmReading,
    "energy": EnergyReading,
    "processes": ProcessReading,
}
_FRACTIONS: Final = frozenset({"sm_activity", "tensor_activity", "dram_activity"})


@dataclass(frozen=True, eq=False)
class TableColumn:
    """A column of a table. Arrays have the shape (rows,).

    Attributes:
        values: Values; where one is missing, any value of the same type.
        missing: Mask of the values that were not measured; None if all were.
        names: Texts that the values are the numbers of; None for a column of numbers or booleans.
    """

    values: NDArray[Any]
    missing: Mask | None = None
    names: Sequence[str] | None = None

    def __getitem__(self, rows: slice) -> TableColumn:
        """Return a range of rows."""
        return TableColumn(self.values[rows], None if self.missing is None else self.missing[rows], self.names)


Table = Mapping[str, TableColumn]
"""Columns by name, all of the same length."""


def run_table(run: ShownRun, name: str) -> Table:
    """Return one of the tables of a run.

    Args:
        run: The run.
        name: One of ``TABLES``.

    Raises:
        ValueError: There is no such table.
    """
    if name not in TABLES:
        raise ValueError(f"there is no table {name!r}; a run has {', '.join(TABLES)}")
    columns = {"batches": _batches, "stages": _stages, "samples": _samples}[name](run)
    rows = len(next(iter(columns.values())).values)
    return {"run_id": TableColumn(np.zeros(rows, np.int32), names=(run.run_id,)), **columns}


def _batches(run: ShownRun) -> dict[str, TableColumn]:
    batches = run.batches
    columns = batches.columns
    packed = batches.flagged(HAS_PACKING)
    budget = columns["token_budget"]
    oversize = packed & (budget > 0) & (columns["tokens"] > budget)
    padding = columns["sequences"] * columns["max_length"] - columns["tokens"]
    efficiency = columns["tokens"] / np.maximum(budget, 1)
    found = {
        "batch": TableColumn(columns["index"]),
        "host_start_ns": TableColumn(columns["host_start_ns"]),
        "host_end_ns": TableColumn(columns["host_end_ns"]),
        **_device_span(batches),
    }
    for field in _STATISTICS:
        lacking = ~packed | (budget <= 0) if field == "token_budget" else ~packed
        found[field] = TableColumn(columns[field], _mask(lacking))
    return {
        **found,
        "padding_tokens": TableColumn(padding, _mask(~packed)),
        "packing_efficiency": TableColumn(efficiency, _mask(~packed | (budget <= 0) | oversize)),
        "oversize": TableColumn(oversize, _mask(~packed)),
        "device_times_dropped": TableColumn(batches.flagged(DEVICE_TIMES_DROPPED)),
    }


def _device_span(batches: BatchTable) -> dict[str, TableColumn]:
    """Return the first start and the last end of each batch on the device."""
    stages = batches.device_stages
    starts, ends = np.full(len(batches), np.iinfo(np.int64).max), np.full(len(batches), NOT_MEASURED)
    np.minimum.at(starts, stages.batch, stages.device_start_ns)
    np.maximum.at(ends, stages.batch, stages.device_end_ns)
    missing = _mask(ends == NOT_MEASURED)
    return {"device_start_ns": TableColumn(starts, missing), "device_end_ns": TableColumn(ends, missing)}


def _stages(run: ShownRun) -> dict[str, TableColumn]:
    stages: StageColumns = run.batches.stages
    missing = _mask(~stages.on_device)
    return {
        "batch": TableColumn(run.batches.columns["index"][stages.batch]),
        "stage": TableColumn(stages.name, names=stages.names),
        "host_start_ns": TableColumn(stages.host_start_ns),
        "host_end_ns": TableColumn(stages.host_end_ns),
        "host_ms": TableColumn((stages.host_end_ns - stages.host_start_ns) / 1e6),
        "device_start_ns": TableColumn(stages.device_start_ns, missing),
        "device_end_ns": TableColumn(stages.device_end_ns, missing),
        "device_ms": TableColumn(_difference(stages.device_start_ns, stages.device_end_ns, missing) / 1e6, missing),
        "timestamped": TableColumn(stages.timestamped == 1),
    }


def _difference(starts: Column, ends: Column, missing: Mask | None) -> Column:
    return ends - starts if missing is None else np.where(missing, 0, ends - starts)


def _samples(run: ShownRun) -> dict[str, TableColumn]:
    """Return the readings of all tiers in order of time; a reading has the values of its own tier only."""
    readings = [
        (number, each)
        for number, tier in enumerate(_TIERS)
        for each in (() if run.gpu is None else getattr(run.gpu, tier))
    ]
    readings.sort(key=lambda pair: (pair[1].at_ns, pair[0]))
    rows = [each for _, each in readings]
    names = dict.fromkeys(field.name for kind in _TIERS.values() for field in fields(kind))
    columns = {"tier": TableColumn(np.array([tier for tier, _ in readings], np.int32), names=tuple(_TIERS))}
    for name in names:
        values = [getattr(each, name, None) for each in rows]
        kind = np.float64 if name in _FRACTIONS else np.int64
        missing = _mask(np.array([value is None for value in values], np.bool_))
        columns[name] = TableColumn(np.array([0 if value is None else value for value in values], kind), missing)
    return columns


def _mask(missing: Mask) -> Mask | None:
    return missing if np.any(missing) else None
