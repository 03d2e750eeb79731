# SPDX-License-Identifier: MIT
"""Put results back into the order of the input, holding back those that arrive early."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from virnuc_profiler.inference.batches import InferenceResult
from virnuc_profiler.inference.finiteness import non_finite_rows


class InputOrder:
    """Regroup results so that their sequences come in input order, each exactly once.

    The index of a sequence is the number of sequences before it in the input. Indices must be distinct. Those from 0
    on without a gap are returned as soon as they are complete, the others at the end in ascending order.

    Rows that are held back lie in one array, which grows to at most twice the largest number ever held back. Adding a
    batch costs two copies of its rows and a sort of the held-back indices, which are nearly sorted already.
    """

    def __init__(self) -> None:
        self._groups = 0
        self._next_index = 0
        self._indices: NDArray[np.int64] = np.empty(0, dtype=np.int64)  # held back, ascending
        self._rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)  # row of each in the store
        self._store = _RowStore()

    @property
    def held_back(self) -> int:
        """Number of sequences that wait for an earlier one."""
        return len(self._indices)

    def add(self, result: InferenceResult, indices: NDArray[np.int64]) -> Iterator[InferenceResult]:
        """Add a batch; yield one group if it completes the next sequences of the input.

        Args:
            result: Result of B sequences.
            indices: (B,) index of each sequence.

        Raises:
            ValueError: An index has been added before.
        """
        every_index = np.concatenate((self._indices, indices))
        order = np.argsort(every_index, kind="stable")
        self._check_distinct(every_index[order])
        self._indices = every_index[order]
        self._rows = np.concatenate((self._rows, self._store.put(result)))[order]
        complete = self._indices == np.arange(self._next_index, self._next_index + len(self._indices))
        yield from self._take_group(int(np.count_nonzero(complete)))

    def rest(self) -> Iterator[InferenceResult]:
        """Yield everything that is held back as one group, if there is any."""
        yield from self._take_group(len(self._indices))

    def _take_group(self, count: int) -> Iterator[InferenceResult]:
        if not count:
            return
        rows, last_index = self._rows[:count], int(self._indices[count - 1])
        self._indices, self._rows = self._indices[count:], self._rows[count:]
        self._next_index = last_index + 1
        group = self._store.take(rows, self._groups)
        self._groups += 1
        yield group

    def _check_distinct(self, indices: NDArray[np.int64]) -> None:
        again = indices[(indices < self._next_index) | (np.diff(indices, prepend=-1) == 0)]
        if len(again):
            raise ValueError(
                f"the sequence at index {again[0]} of the input came twice: in_order needs a loader that yields each "
                "sequence of one pass once"
            )


class _RowStore:
    """Rows of results in arrays; the space of rows that were taken out is reused."""

    def __init__(self) -> None:
        self._embeddings: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)
        self._positions: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._ids: NDArray[np.object_] = np.empty(0, dtype=object)  # for each row: the identifiers of its whole batch
        self._row_in_batch: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._free: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def put(self, result: InferenceResult) -> NDArray[np.int64]:
        """Copy a batch's rows in; return their row numbers."""
        count, hidden_size = result.embeddings.shape
        if not len(self._positions):
            self._embeddings = np.empty((0, hidden_size), dtype=np.float32)
        if count > len(self._free):
            self._grow(count - len(self._free))
        rows, self._free = self._free[:count], self._free[count:]
        self._embeddings[rows] = result.embeddings.numpy()
        self._positions[rows] = result.positions
        holder = np.empty((), dtype=object)
        holder[()] = result.sequence_ids  # as one object: a direct assignment would spread a list over the rows
        self._ids[rows] = holder
        self._row_in_batch[rows] = np.arange(count)
        return rows

    def take(self, rows: NDArray[np.int64], number: int) -> InferenceResult:
        """Copy rows out as a group.

        Args:
            rows: (n,) row numbers, in the order of the group.
            number: Number of the group.
        """
        embeddings = torch.from_numpy(self._embeddings[rows])
        ids = _GatheredIds(self._ids[rows], self._row_in_batch[rows])
        positions = self._positions[rows]
        self._ids[rows] = None
        self._free = np.concatenate((self._free, rows))
        non_finite = [ids[row] for row in non_finite_rows(embeddings).tolist()]
        return InferenceResult(ids, embeddings, number, positions, non_finite)

    def _grow(self, needed: int) -> None:
        size = len(self._positions)
        more = max(needed, size)
        self._free = np.concatenate((self._free, np.arange(size, size + more)))
        unset = np.empty((more, self._embeddings.shape[1]), dtype=np.float32)
        self._embeddings = np.concatenate((self._embeddings, unset))
        self._positions = np.concatenate((self._positions, np.empty(more, dtype=np.int64)))
        self._ids = np.concatenate((self._ids, np.empty(more, dtype=object)))
        self._row_in_batch = np.concatenate((self._row_in_batch, np.empty(more, dtype=np.int64)))


class _GatheredIds(Sequence[str]):
    """Identifiers from several batches, resolved when read."""

    def __init__(self, batches: NDArray[np.object_], rows: NDArray[np.int64]) -> None:
        self._batches = batches
        self._rows = rows

    @overload
    def __getitem__(self, item: int) -> str: ...
    @overload
    def __getitem__(self, item: slice) -> _GatheredIds: ...
    def __getitem__(self, item: int | slice) -> str | _GatheredIds:
        if isinstance(item, slice):
            return _GatheredIds(self._batches[item], self._rows[item])
        ids: Any = self._batches[item]
        name: str = ids[int(self._rows[item])]
        return name

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return repr(list(self))
