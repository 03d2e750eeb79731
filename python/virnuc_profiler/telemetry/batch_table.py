# SPDX-License-Identifier: MIT
"""Batches as columns: hundreds of thousands of records at a few hundred bytes each, made into objects when read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler.errors import TelemetryFormatError
from virnuc_profiler.telemetry.records import BatchRecord, PackingRecord, StageRecord
from virnuc_profiler.telemetry.stage_columns import NOT_MEASURED, Column, Mask, StageColumns
from virnuc_profiler.telemetry.typed_records import LARGEST

HAS_PACKING, OVERSIZE, DEVICE_TIMES_DROPPED = 1, 2, 4
"""Bits of a batch's ``flags``."""

BATCH_FIELDS = (
    "index",
    "host_start_ns",
    "host_end_ns",
    "stage_begin",
    "stage_end",
    "sequences",
    "tokens",
    "min_length",
    "max_length",
    "sum_squared_lengths",
    "token_budget",
    "flags",
)
STAGE_FIELDS = ("stage", "host_start_ns", "host_end_ns", "device_start_ns", "device_end_ns")

_STATISTICS = BATCH_FIELDS[5:10]
_ALWAYS_MEASURED = frozenset(("stage", "flags", *BATCH_FIELDS[:5]))

_BATCH_DTYPE = np.dtype([(field, np.int64) for field in BATCH_FIELDS])
_STAGE_DTYPE = np.dtype([(field, np.int64) for field in STAGE_FIELDS])


class BatchTable(Sequence[BatchRecord]):
    """A sequence of :class:`BatchRecord` over two structured arrays.

    Args:
        stage_names: names by number.
        batches: (batches,) with the fields ``BATCH_FIELDS``; a batch's stages are rows ``stage_begin`` up to
            ``stage_end`` of `stages`, a budget of 0 is none.
        stages: (stages,) with the fields ``STAGE_FIELDS``.
    """

    def __init__(self, stage_names: Sequence[str], batches: NDArray[np.void], stages: NDArray[np.void]) -> None:
        self._stage_names = tuple(stage_names)
        self._batches = batches[list(BATCH_FIELDS)]  # views, in the order in which rows are taken apart
        self._stages = stages[list(STAGE_FIELDS)]

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
    def of(cls, batches: Iterable[BatchRecord]) -> BatchTable:
        """The table of some records; a table is its own."""
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
        """The batches at these places, in this order."""
        return BatchTable(self._stage_names, self._batches[places], self._stages)

    def column(self, field: str) -> Column:
        """One of ``BATCH_FIELDS``, (batches,); ``NOT_MEASURED`` stands for None."""
        return self._batches[field].astype(np.int64)

    def flagged(self, bit: int) -> Mask:
        """The batches that have one of the bits of ``flags``."""
        found: Mask = (self.column("flags") & bit) != 0
        return found

    def packed(self) -> BatchTable:
        """The batches that have packing statistics."""
        return self.take(np.flatnonzero(self.flagged(HAS_PACKING)))

    def packings(self) -> dict[int, PackingRecord]:
        """Packing statistics by batch index."""
        packed = self.packed()
        columns = [packed.column(field).tolist() for field in _STATISTICS]
        budgets = [budget or None for budget in packed.column("token_budget").tolist()]
        return dict(zip(packed.column("index").tolist(), map(PackingRecord, *columns, budgets), strict=True))

    def sum(self, field: str) -> int:
        """Sum of one of ``BATCH_FIELDS`` over batches that all have it."""
        return int(self.column(field).sum())

    def stages(self) -> StageColumns:
        """The stages of all batches, batch after batch."""
        begins = self.column("stage_begin")
        counts = np.maximum(self.column("stage_end") - begins, 0)
        batch = np.repeat(np.arange(len(self)), counts)
        rows = np.arange(len(batch)) - np.repeat(np.cumsum(counts) - counts - begins, counts)
        columns = (self._stages[field].astype(np.int64)[rows] for field in STAGE_FIELDS)
        return StageColumns(self._stage_names, batch, *columns)

    def total(self, field: str) -> int | None:
        """Sum of one of ``BATCH_FIELDS`` over the batches that have it; None if none of them has."""
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
        number, host_start_ns, host_end_ns, device_start_ns, device_end_ns = row
        return StageRecord(
            self._stage_names[number],
            host_start_ns,
            host_end_ns,
            None if device_start_ns == NOT_MEASURED else device_start_ns,
            None if device_end_ns == NOT_MEASURED else device_end_ns,
        )

    def to_columns(self) -> dict[str, dict[str, list[int | None]]]:
        """Both tables as JSON-able columns; what was not measured is None."""
        return {
            "batches": _to_columns(self._batches, BATCH_FIELDS),
            "stages": _to_columns(self._stages, STAGE_FIELDS),
        }

    @classmethod
    def from_columns(cls, stage_names: Sequence[str], columns: Mapping[str, Any]) -> BatchTable:
        """The inverse of :meth:`to_columns`.

        Raises:
            TelemetryFormatError: a column is missing, of another length, or holds something else than integers;
                or a batch refers to stages that are not there.
        """
        batches = _from_columns(columns, "batches", BATCH_FIELDS, _BATCH_DTYPE)
        stages = _from_columns(columns, "stages", STAGE_FIELDS, _STAGE_DTYPE)
        if len(stages) and not (stages["stage"].min() >= 0 and stages["stage"].max() < len(stage_names)):
            raise TelemetryFormatError("a row of stages names a stage number that is not in stage_names")
        begin, end = batches["stage_begin"], batches["stage_end"]
        if np.any((begin < 0) | (end < begin) | (end > len(stages))):
            raise TelemetryFormatError("a batch refers to stages that the file does not hold")
        if int((end - begin).sum()) > len(stages):  # a few bytes each could otherwise ask for the whole table
            raise TelemetryFormatError("batches share stages; each stage belongs to one batch")
        packed = batches[(batches["flags"] & HAS_PACKING) != 0]
        if any(np.any(packed[field] == NOT_MEASURED) for field in _STATISTICS):
            raise TelemetryFormatError("a batch is flagged to have packing statistics that the file does not hold")
        if any(np.any(packed[field] < 0) for field in (*_STATISTICS, "token_budget")):
            raise TelemetryFormatError("a batch has packing statistics below 0")
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
    return (number, stage.host_start_ns, stage.host_end_ns, start, end)


def _to_columns(table: NDArray[np.void], fields: Sequence[str]) -> dict[str, list[int | None]]:
    return {field: [None if value == NOT_MEASURED else value for value in table[field].tolist()] for field in fields}


def _from_columns(
    columns: Mapping[str, Any], name: str, fields: Sequence[str], dtype: np.dtype[np.void]
) -> NDArray[np.void]:
    held = columns.get(name)
    if not isinstance(held, dict):
        raise TelemetryFormatError(f"{name} is not a table of columns")
    lists = [_column(held, field, name) for field in fields]
    sizes = {len(values) for values in lists}
    if len(sizes) > 1:
        raise TelemetryFormatError(f"the columns of {name} do not fit together: they have {sorted(sizes)} values")
    table = np.empty(sizes.pop(), dtype)
    for field, values in zip(fields, lists, strict=True):
        table[field] = [NOT_MEASURED if value is None else value for value in values]
    return table


def _column(held: Mapping[str, Any], field: str, name: str) -> list[int | None]:
    values = held.get(field)
    if not isinstance(values, list):
        raise TelemetryFormatError(f"column {field!r} is missing from {name}")
    if not all(value is None or type(value) is int for value in values):
        raise TelemetryFormatError(f"{name}.{field} must hold integers or null only")
    if field in _ALWAYS_MEASURED and None in values:
        raise TelemetryFormatError(f"{name}.{field} must hold integers only")
    if any(value is not None and not -LARGEST <= value <= LARGEST for value in values):
        raise TelemetryFormatError(f"{name}.{field} holds a number of more than 62 bits")
    return values
