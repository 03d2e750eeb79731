# SPDX-License-Identifier: MIT
"""Results in the order of the input again: what has come too early is held back until its turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from virnuc_profiler.inference.batches import InferenceResult
from virnuc_profiler.inference.finiteness import non_finite_rows


class InputOrder:
    """Re-groups results so that their sequences come in input order, each exactly once.

    A sequence's place in the input is how many come before it. The places must be distinct; those from 0 on without a
    gap are handed out as soon as they are complete, the others at the end, in ascending order.

    Rows that are held back lie in one array, which grows to at most twice as many as were ever held back at a time.
    Adding a batch costs two copies of its rows, and sorting the places held back, which are nearly sorted already.
    """

    def __init__(self) -> None:
        self._groups = 0
        self._next_place = 0
        self._places: NDArray[np.int64] = np.empty(0, dtype=np.int64)  # held back, ascending
        self._rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)  # where each of them lies
        self._store = _RowStore()

    @property
    def held_back(self) -> int:
        """Sequences that wait for their turn."""
        return len(self._places)

    def add(self, result: InferenceResult, places: NDArray[np.int64]) -> Iterator[InferenceResult]:
        """Takes in a batch; yields one group if there is a sequence whose turn it is.

        Args:
            result: of B sequences.
            places: (B,) their places.

        Raises:
            ValueError: a place has come before.
        """
        every_place = np.concatenate((self._places, places))
        order = np.argsort(every_place, kind="stable")
        self._check_distinct(every_place[order])
        self._places = every_place[order]
        self._rows = np.concatenate((self._rows, self._store.put(result)))[order]
        in_turn = self._places == np.arange(self._next_place, self._next_place + len(self._places))
        yield from self._hand_out(int(np.count_nonzero(in_turn)))

    def rest(self) -> Iterator[InferenceResult]:
        """Yields everything that is held back, as one group, if there is any."""
        yield from self._hand_out(len(self._places))

    def _hand_out(self, count: int) -> Iterator[InferenceResult]:
        if not count:
            return
        rows, last_place = self._rows[:count], int(self._places[count - 1])
        self._places, self._rows = self._places[count:], self._rows[count:]
        self._next_place = last_place + 1
        group = self._store.take(rows, self._groups)
        self._groups += 1
        yield group

    def _check_distinct(self, places: NDArray[np.int64]) -> None:
        again = places[(places < self._next_place) | (np.diff(places, prepend=-1) == 0)]
        if len(again):
            raise ValueError(
                f"the sequence in place {again[0]} of the input came twice: in_order needs a loader that gives one "
                "pass over its sequences, each once"
            )


class _RowStore:
    """Rows of results in arrays; the places of those taken out are used again."""

    def __init__(self) -> None:
        self._embeddings: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)
        self._positions: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._ids: NDArray[np.object_] = np.empty(0, dtype=object)  # the identifiers of the batch of each row
        self._row_in_batch: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._free: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def put(self, result: InferenceResult) -> NDArray[np.int64]:
        """Copies a batch's rows in; returns where they lie."""
        count, width = result.embeddings.shape
        if not len(self._positions):
            self._embeddings = np.empty((0, width), dtype=np.float32)
        if count > len(self._free):
            self._grow(count - len(self._free))
        rows, self._free = self._free[:count], self._free[count:]
        self._embeddings[rows] = result.embeddings.numpy()
        self._positions[rows] = result.positions
        holder = np.empty((), dtype=object)
        holder[()] = result.sequence_ids  # as one object, where an assignment would spread a list over the rows
        self._ids[rows] = holder
        self._row_in_batch[rows] = np.arange(count)
        return rows

    def take(self, rows: NDArray[np.int64], number: int) -> InferenceResult:
        """Copies those rows out, in that order, as the group of that number."""
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
