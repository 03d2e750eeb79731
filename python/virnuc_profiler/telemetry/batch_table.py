# SPDX-License-Identifier: MIT
"""Batches as columns: a few hundred bytes per batch, turned into records on access."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.records import BatchRecord, PackingRecord, StageRecord
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED, Column, Mask, StageColumns
from virnuc_profiler.telemetry.typed_records import LARGEST

HAS_PACKING, OVERSIZE, DEVICE_TIMES_DROPPED = 1, 2, 4
"""Bits of the ``flags`` column of batches, in files too. A test compares them with those of the compiled core."""

_PLACE_AND_TIME = ("index", "host_start_ns", "host_end_ns", "stage_begin", "stage_end")
_STATISTICS = ("sequences", "tokens", "min_length", "max_length", "sum_squared_lengths")
BATCH_FIELDS = (*_PLACE_AND_TIME, *_STATISTICS, "token_budget", "flags")
"""Columns of batches, in the compiled core, in files and here. A test compares them with those of the core."""

STAGE_FIELDS = ("stage", "host_start_ns", "host_end_ns", "device_start_ns", "device_end_ns", "timestamped")

_REQUIRED_COLUMNS = frozenset((*_PLACE_AND_TIME, "flags", "stage"))
"""Columns without a missing value. Every other column of a file may lack values, or be missing altogether."""

_WITHOUT_COLUMN = {"token_budget": 0, "timestamped": 0}
"""Values of optional columns that a file lacks, where that is not ``NOT_MEASURED``."""

_BATCH_DTYPE = np.dtype([(field, np.int64) for field in BATCH_FIELDS])
_STAGE_DTYPE = np.dtype([(field, np.int64) for field in STAGE_FIELDS])


class BatchTable(Sequence[BatchRecord]):
    """Sequence of :class:`BatchRecord`, stored in two structured arrays.

    Args:
        stage_names: Names of the stages; rows of `stages` refer to them by position.
        batches: Array of shape (batches,) with the fields ``BATCH_FIELDS``. The stages of a batch are the rows
            ``stage_begin`` up to ``stage_end`` of `stages`. A token budget of 0 means no budget.
        stages: Array of shape (stages,) with the fields ``STAGE_FIELDS``.
    """

    def __init__(self, stage_names: Sequence[str], batches: NDArray[np.void], stages: NDArray[np.void]) -> None:
        self._stage_names = tuple(stage_names)
        # 64-bit fields in the order of _record(). The core has narrower ones, whose products could overflow.
        self._batches = batches[list(BATCH_FIELDS)].astype(_BATCH_DTYPE, copy=False)
        self._stages = stages[list(STAGE_FIELDS)].astype(_STAGE_DTYPE, copy=False)
        self._batches.setflags(write=False)
        self._stages.setflags(write=False)

    def __len__(self) -> int:
        return len(self._batches)

    @overload
    def __getitem__(self, index: int) -> BatchRecord: ...
    @overload
    def __getitem__(self, index: slice) -> BatchTable: ...
    def __getitem__(self, index: int | slice) -> BatchRecord | BatchTable:
        if isinstance(index, slice):
            return BatchTable(self._stage_names, self._batches[index], self._stages)
        return self._record(self._batches[index])

    def __iter__(self) -> Iterator[BatchRecord]:
        return map(self._record, self._batches)

    @classmethod
    def from_records(cls, batches: Iterable[BatchRecord]) -> BatchTable:
        """Return a table of records. A table is returned as it is.

        Args:
            batches: Records or a table.
        """
        if isinstance(batches, BatchTable):
            return batches
        records = list(batches)
        names = list(dict.fromkeys(stage.name for batch in records for stage in batch.stages))
        rows: list[tuple[int, ...]] = []
        stages: list[tuple[int, ...]] = []
        for batch in records:
            begin = len(stages)
            stages.extend(_stage_row(names.index(stage.name), stage) for stage in batch.stages)
            rows.append(_batch_row(batch, begin, len(stages)))
        return cls(names, np.array(rows, _BATCH_DTYPE), np.array(stages, _STAGE_DTYPE))

    def take(self, places: Column) -> BatchTable:
        """Return the batches at some positions.

        Args:
            places: Positions of the batches, in the order wanted.
        """
        return BatchTable(self._stage_names, self._batches[places], self._stages)

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """Read-only columns of shape (batches,) by field of ``BATCH_FIELDS``; ``NOT_MEASURED`` stands for None."""
        return dict(zip(BATCH_FIELDS, map(self._batches.__getitem__, BATCH_FIELDS), strict=True))

    def flagged(self, bit: int) -> Mask:
        """Return a mask of shape (batches,) of the batches with a flag.

        Args:
            bit: One of the bits of the ``flags`` column.
        """
        found: Mask = (self.columns["flags"] & bit) != 0
        return found

    @cached_property
    def all_packed(self) -> bool:
        """Whether there are batches, and all of them have packing statistics."""
        return len(self) > 0 and bool(self.flagged(HAS_PACKING).all())

    def packed(self) -> BatchTable:
        """Return the batches with packing statistics: the table itself if all have them."""
        return self if self.all_packed else self.take(np.flatnonzero(self.flagged(HAS_PACKING)))

    def packings(self) -> dict[int, PackingRecord]:
        """Return the packing statistics by batch index."""
        packed = self.packed().columns
        columns = [packed[field].tolist() for field in _STATISTICS]
        budgets = [budget or None for budget in packed["token_budget"].tolist()]
        return dict(zip(packed["index"].tolist(), map(PackingRecord, *columns, budgets), strict=True))

    @cached_property
    def stages(self) -> StageColumns:
        """Stages of all batches, ordered by batch."""
        begins = self.columns["stage_begin"]
        counts = np.maximum(self.columns["stage_end"] - begins, 0)
        batch = np.repeat(np.arange(len(counts)), counts)
        rows = np.arange(len(batch)) - np.repeat(np.cumsum(counts) - counts - begins, counts)
        in_one_piece = len(rows) > 0 and bool(np.all(rows[1:] == rows[:-1] + 1))  # as in every run, and part of one
        chosen = self._stages[rows[0] : rows[-1] + 1] if in_one_piece else self._stages[rows]
        return StageColumns(self._stage_names, batch, *map(chosen.__getitem__, STAGE_FIELDS))

    @cached_property
    def device_stages(self) -> StageColumns:
        """The stages that have a device interval."""
        return self.stages[self.stages.on_device]

    @cached_property
    def timestamped_stages(self) -> StageColumns:
        """The stages that the device timed itself."""
        stages = self.device_stages
        return stages[stages.timestamped == 1]

    @cached_property
    def timed_stages(self) -> StageColumns:
        """The stages with a device interval, except those of batches that lost some of their device times."""
        stages, incomplete = self.device_stages, self.flagged(DEVICE_TIMES_DROPPED)
        return stages[~incomplete[stages.batch]] if incomplete.any() else stages

    def with_device_times_later(self, later_ns: int) -> BatchTable:
        """Return the same batches with all device times moved.

        Args:
            later_ns: Time to add to each device time, ns.
        """
        stages = self._stages.copy()
        for field in ("device_start_ns", "device_end_ns"):
            stages[field][stages[field] != NOT_MEASURED] += later_ns
        return BatchTable(self._stage_names, self._batches, stages)

    def total(self, field: str) -> int | None:
        """Return the sum of a column over the batches that have a value; None if no batch has one.

        Args:
            field: One of ``BATCH_FIELDS``.
        """
        column = self._batches[field]
        known = column[column != NOT_MEASURED]
        return None if len(column) and not len(known) else int(known.sum())

    def _record(self, row: Any) -> BatchRecord:
        # One conversion for the whole row: numpy's access field by field is ten times slower.
        index, host_start_ns, host_end_ns, stage_begin, stage_end, *packing, budget, flags = row.tolist()
        packing.append(budget or None)
        return BatchRecord(
            index=index,
            host_start_ns=host_start_ns,
            host_end_ns=host_end_ns,
            stages=tuple(map(self._stage, self._stages[stage_begin:stage_end].tolist())),
            packing=PackingRecord(*packing) if flags & HAS_PACKING else None,
            device_times_dropped=bool(flags & DEVICE_TIMES_DROPPED),
        )

    def _stage(self, row: tuple[int, ...]) -> StageRecord:
        number, host_start_ns, host_end_ns, device_start_ns, device_end_ns, timestamped = row
        return StageRecord(
            self._stage_names[number],
            host_start_ns,
            host_end_ns,
            None if device_start_ns == NOT_MEASURED else device_start_ns,
            None if device_end_ns == NOT_MEASURED else device_end_ns,
            timestamped == 1,
        )

    def to_columns(self) -> dict[str, dict[str, list[int | None]]]:
        """Return both tables as lists of plain JSON values, with None for what was not measured."""
        return {
            "batches": _to_columns(self._batches, BATCH_FIELDS),
            "stages": _to_columns(self._stages, STAGE_FIELDS),
        }

    def to_arrays(self) -> dict[str, dict[str, Column]]:
        """Return both tables as columns with ``NOT_MEASURED`` for what was not measured."""
        return {
            "batches": {field: self._batches[field] for field in BATCH_FIELDS},
            "stages": {field: self._stages[field] for field in STAGE_FIELDS},
        }

    @classmethod
    def from_columns(cls, stage_names: Sequence[str], columns: Mapping[str, Any]) -> BatchTable:
        """Build a table from columns; the inverse of :meth:`to_columns`.

        Columns of values that need not be measured may be missing.

        Args:
            stage_names: Names of the stages, by number.
            columns: Object with the tables ``batches`` and ``stages``, each an object of lists, or of arrays of at most
                62 bits with ``NOT_MEASURED`` for null.

        Raises:
            TelemetryFormatError: A required column is missing, a column has another length or contains values
                other than integers, or a batch refers to stages that do not exist.
        """
        batches = _from_columns(columns, "batches", BATCH_FIELDS, _BATCH_DTYPE)
        stages = _from_columns(columns, "stages", STAGE_FIELDS, _STAGE_DTYPE)
        if len(stages) and not (stages["stage"].min() >= 0 and stages["stage"].max() < len(stage_names)):
            raise TelemetryFormatError("a row of stages has a stage number that is not in stage_names")
        begin, end = batches["stage_begin"], batches["stage_end"]
        if np.any((begin < 0) | (end < begin) | (end > len(stages))):
            raise TelemetryFormatError("a batch refers to stages that the file does not contain")
        if int((end - begin).sum()) > len(stages):  # else a small file could expand to billions of rows
            raise TelemetryFormatError("batches share stages; each stage belongs to one batch")
        packed = batches[(batches["flags"] & HAS_PACKING) != 0]
        if any(np.any(packed[field] == NOT_MEASURED) for field in _STATISTICS):
            raise TelemetryFormatError("a batch is flagged as having packing statistics, but the file lacks them")
        if any(np.any(packed[field] < 0) for field in (*_STATISTICS, "token_budget")):
            raise TelemetryFormatError("a batch has negative packing statistics")
        return cls(stage_names, batches, stages)


def _batch_row(batch: BatchRecord, begin: int, end: int) -> tuple[int, ...]:
    flags = DEVICE_TIMES_DROPPED if batch.device_times_dropped else 0
    statistics = (NOT_MEASURED,) * 5 + (0,)
    if (packing := batch.packing) is not None:
        flags |= HAS_PACKING | (OVERSIZE if packing.oversize else 0)
        lengths = (packing.min_length, packing.max_length, packing.sum_squared_lengths)
        statistics = (packing.sequences, packing.tokens, *lengths, packing.token_budget or 0)
    return (batch.index, batch.host_start_ns, batch.host_end_ns, begin, end, *statistics, flags)


def _stage_row(number: int, stage: StageRecord) -> tuple[int, ...]:
    device = (stage.device_start_ns, stage.device_end_ns)
    start, end = (NOT_MEASURED if time is None else time for time in device)
    return (number, stage.host_start_ns, stage.host_end_ns, start, end, int(stage.timestamped))


def _to_columns(table: NDArray[np.void], fields: Sequence[str]) -> dict[str, list[int | None]]:
    return {field: [None if value == NOT_MEASURED else value for value in table[field].tolist()] for field in fields}


def _from_columns(
    columns: Mapping[str, Any], name: str, fields: Sequence[str], dtype: np.dtype[np.void]
) -> NDArray[np.void]:
    table_columns = columns.get(name)
    if not isinstance(table_columns, dict):
        raise TelemetryFormatError(f"{name} is not a table of columns")
    lists = {
        field: _column(table_columns, field, name)
        for field in fields
        if field in table_columns or field in _REQUIRED_COLUMNS
    }
    sizes = {len(values) for values in lists.values()}
    if len(sizes) > 1:
        raise TelemetryFormatError(f"the columns of {name} do not fit together: they have {sorted(sizes)} values")
    table = np.empty(sizes.pop(), dtype)
    for field in fields:
        if field in lists:
            table[field] = _as_array(lists[field])
        else:
            table[field] = _WITHOUT_COLUMN.get(field, NOT_MEASURED)
    return table


def _as_array(values: list[int | None] | Column) -> Any:
    return values if isinstance(values, np.ndarray) else [NOT_MEASURED if value is None else value for value in values]


def _column(table_columns: Mapping[str, Any], field: str, name: str) -> list[int | None] | Column:
    values = table_columns.get(field)
    required = field in _REQUIRED_COLUMNS
    if isinstance(values, np.ndarray):  # its reader has seen that they are whole numbers of at most 62 bits
        lacking = required and bool(np.any(values == NOT_MEASURED))
    elif not isinstance(values, list):
        raise TelemetryFormatError(f"column {field!r} is missing from {name}")
    elif not all(value is None or type(value) is int for value in values):
        raise TelemetryFormatError(f"{name}.{field} must contain only integers or null")
    else:
        lacking = required and None in values
    if lacking:
        raise TelemetryFormatError(f"{name}.{field} must contain only integers")
    if isinstance(values, list) and any(value is not None and not -LARGEST <= value <= LARGEST for value in values):
        raise TelemetryFormatError(f"{name}.{field} contains a number of more than 62 bits")
    return values
