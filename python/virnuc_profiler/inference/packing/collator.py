# SPDX-License-Identifier: MIT
"""Pack encoded sequences into batches of a token budget, without padding and without losing any."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic_ns
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from virnuc_profiler._core import encode_residues, gather_sequences, pack_sequences, pack_statistics
from virnuc_profiler.errors import WorkloadError
from virnuc_profiler.inference.argument_checks import MAX_INT32, checked_integer
from virnuc_profiler.inference.batches import EncodedChunk, PackedBatch, packed_size, packed_views
from virnuc_profiler.inference.packing.buffer import PackBuffer, WaitingSequences, offsets_of
from virnuc_profiler.inference.packing.sequence_items import SequenceItem, checked_pairs
from virnuc_profiler.inference.sequences.alphabet import residue_alphabet
from virnuc_profiler.telemetry.values import shown

CollatorInput: TypeAlias = EncodedChunk | Iterable[SequenceItem]

WELL_FILLED = 0.97
"""A pack that fills at least this share of the budget is never held back."""
MAX_HELD_BACK = 0.5
"""Share of ``buffer_size`` sequences that may stay in the buffer after a packing."""
MAX_TIMES_HELD_BACK = 3
"""A pack with a sequence that was held back this many times is emitted, however empty it is."""


class VarlenCollator:
    """Buffer sequences and pack them, best-fit decreasing, into batches of a token budget.

    When the buffer holds ``buffer_size`` sequences, all of them are packed. Packs that fill `WELL_FILLED` of the budget
    are emitted. The emptiest of the others stay in the buffer for the next packing, up to `MAX_HELD_BACK` of
    ``buffer_size`` sequences, unless they contain a sequence that has already stayed `MAX_TIMES_HELD_BACK` times; the
    rest are emitted too. So the buffer's poorly filled last packs cost no efficiency, every packing includes new
    sequences, and no sequence waits for more than `MAX_TIMES_HELD_BACK` further packings. `flush` packs and emits what
    is left. The batches depend on the order of the sequences only, not on how they were chunked.

    Without packing (``enable_packing=False``) batches are filled in the order of arrival, each up to the budget.

    A sequence longer than the budget becomes a batch of its own, whose statistics say ``oversize``.

    Args:
        batch_converter: Batch converter of fair-esm whose alphabet encodes plain sequences; None for ESM-2's alphabet.
        max_tokens_per_batch: Token budget, BOS and EOS included.
        max_sequence_length: Length limit in residues; longer plain sequences are truncated and counted.
        buffer_size: Number of sequences that are packed together.
        enable_packing: Whether to pack; False fills batches in the order of arrival.

    Attributes:
        resolve_ids: Function that returns the identifiers of positions, for encoded chunks; set by
            `create_async_dataloader`. Without it, the identifiers are the positions in decimal.
        pin_memory: Whether batches are allocated in pinned memory, which creates a CUDA context in this process.
        truncated: Number of sequences of this pass that were truncated.
        unknown_residues: Number of letters of this pass that the alphabet lacks.
        sequences_in: Number of sequences received in this pass.
        sequences_out: Number of sequences emitted in this pass; equal to ``sequences_in`` after `flush`.

    Raises:
        TypeError: `batch_converter` is not a fair-esm converter, or a number is not an integer.
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        batch_converter: Any = None,
        *,
        max_tokens_per_batch: int = 4096,
        max_sequence_length: int = 1022,
        buffer_size: int = 2000,
        enable_packing: bool = True,
    ) -> None:
        # ESM-2's own alphabet is loaded when needed, because encoded chunks need neither it nor fair-esm.
        self._alphabet = None if batch_converter is None else residue_alphabet(batch_converter)
        self.max_tokens_per_batch = max_tokens_per_batch
        self.max_sequence_length = checked_integer("max_sequence_length", max_sequence_length, 1)
        self.buffer_size = checked_integer("buffer_size", buffer_size, 1)
        self.enable_packing = enable_packing
        self.resolve_ids: Callable[[NDArray[np.int64]], Sequence[str]] | None = None
        self.pin_memory = False
        self._buffer = PackBuffer()
        self.reset()

    @property
    def max_tokens_per_batch(self) -> int:
        """Token budget that fills the batches, and that their packing efficiency refers to."""
        return self._token_budget

    @max_tokens_per_batch.setter
    def max_tokens_per_batch(self, value: int) -> None:
        self._token_budget = checked_integer("max_tokens_per_batch", value, 1, MAX_INT32)

    def reset(self) -> None:
        """Drop buffered sequences and reset the counters, for a new pass."""
        self._buffer.clear()
        self._item_ids: dict[int, str] | None = None
        self.truncated = 0
        self.unknown_residues = 0
        self.sequences_in = 0
        self.sequences_out = 0

    def __call__(self, items: CollatorInput) -> list[PackedBatch]:
        """Add sequences; return the batches that became ready, often none and sometimes many.

        Args:
            items: An `EncodedChunk`, or a list of (id, sequence) pairs or ``{"id": ..., "sequence": ...}`` mappings.
                The positions of plain sequences are counted from the start of the pass.

        Raises:
            TypeError: An item is neither a pair of strings nor a mapping of strings; a bare string is refused.
            ValueError: A mapping lacks a key, a pair does not have two parts, a chunk has sequences longer than
                ``max_sequence_length``, or chunks and plain sequences are mixed in one pass.
            WorkloadError: A sequence has no residues.
        """
        return list(self.packs(items))

    def flush(self) -> list[PackedBatch]:
        """Pack and return all sequences that are left."""
        return list(self.remaining_packs())

    def packs(self, items: CollatorInput) -> Iterator[PackedBatch]:
        """Add sequences; yield the batches that became ready one by one.

        The first batch is usable before the next is gathered. The iterator must be exhausted before the next call.

        Args:
            items: Sequences as for `__call__`.
        """
        if isinstance(items, EncodedChunk):
            self._check_chunk(items)
            chunk = items
        else:
            chunk = self._encode(items)
        total = len(chunk.positions)
        first_arrival = self.sequences_in
        self.sequences_in += total
        self.truncated += chunk.truncated
        self.unknown_residues += chunk.unknown_residues
        if not self.enable_packing:
            self._buffer.add(chunk, 0, total, first_arrival)
            if self._buffer.tokens >= self._token_budget and not chunk.flush:
                yield from self._fill_in_order(final=False)
        else:
            yield from self._add_packed(chunk, first_arrival)
        if chunk.flush:
            yield from self.remaining_packs()

    def _add_packed(self, chunk: EncodedChunk, first_arrival: int) -> Iterator[PackedBatch]:
        total = len(chunk.positions)
        start = 0
        while start < total:
            stop = min(total, start + self.buffer_size - self._buffer.sequences)
            self._buffer.add(chunk, start, stop, first_arrival)
            start = stop
            if self._buffer.sequences >= self.buffer_size:
                yield from self._pack(final=False)

    def remaining_packs(self) -> Iterator[PackedBatch]:
        """Pack all sequences that are left; yield the batches one by one."""
        if self._buffer.sequences:
            yield from (self._pack(final=True) if self.enable_packing else self._fill_in_order(final=True))

    def _pack(self, *, final: bool) -> Iterator[PackedBatch]:
        start_ns = monotonic_ns()
        waiting = self._buffer.take()
        order, pack_offsets = pack_sequences(waiting.lengths, self._token_budget)
        emitted = np.ones(len(pack_offsets) - 1, dtype=np.bool_)
        if not final:
            emitted = self._packs_to_emit(waiting, order, pack_offsets)
            self._buffer.put_back(waiting, order[~np.repeat(emitted, np.diff(pack_offsets))])
        starts, stops = pack_offsets[:-1][emitted], pack_offsets[1:][emitted]
        bounds = list(zip(starts.tolist(), stops.tolist(), strict=True))
        yield from self._gather(waiting, order, bounds, start_ns)

    def _packs_to_emit(
        self, waiting: WaitingSequences, order: NDArray[np.int64], pack_offsets: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return a mask of the packs that are emitted now, by the rule in the class's docstring."""
        firsts = pack_offsets[:-1]
        fill = np.add.reduceat(waiting.lengths[order], firsts) / self._token_budget
        times_held_back = np.maximum.reduceat(waiting.held_back[order], firsts)
        may_stay = (fill < WELL_FILLED) & (times_held_back < MAX_TIMES_HELD_BACK)
        emptiest_first = np.flatnonzero(may_stay)[np.argsort(fill[may_stay], kind="stable")]
        sizes = np.diff(pack_offsets)[emptiest_first]
        stays = emptiest_first[np.cumsum(sizes) <= MAX_HELD_BACK * self.buffer_size]
        emitted = np.ones(len(firsts), dtype=np.bool_)
        emitted[stays] = False
        return emitted

    def _fill_in_order(self, *, final: bool) -> Iterator[PackedBatch]:
        start_ns = monotonic_ns()
        waiting = self._buffer.take()
        offsets = offsets_of(waiting.lengths)
        bounds = []
        start = 0
        while start < len(waiting):
            limit = offsets[start] + self._token_budget
            stop = max(start + 1, int(np.searchsorted(offsets, limit, side="right")) - 1)
            if stop == len(waiting) and offsets[stop] < limit and not final:
                break  # the next sequence may still fit
            bounds.append((start, stop))
            start = stop
        self._buffer.put_back(waiting, np.arange(start, len(waiting), dtype=np.int64))
        yield from self._gather(waiting, np.arange(start, dtype=np.int64), bounds, start_ns)

    def _gather(
        self, waiting: WaitingSequences, order: NDArray[np.int64], bounds: list[tuple[int, int]], start_ns: int
    ) -> Iterator[PackedBatch]:
        """Yield a batch for each part of `order`; the first one's interval includes the packing.

        Args:
            waiting: Sequences that were packed.
            order: (n,) their indices, pack after pack.
            bounds: Start and stop in `order` of each pack to emit.
            start_ns: Start of the packing on the monotonic clock.
        """
        offsets = offsets_of(waiting.lengths)
        positions, arrivals = waiting.positions[order], waiting.arrivals[order]
        ordered_offsets = offsets_of(waiting.lengths[order]).tolist()
        for start, stop in bounds:
            size = packed_size(stop - start, ordered_offsets[stop] - ordered_offsets[start])
            memory = torch.empty(size, dtype=torch.uint8, pin_memory=self.pin_memory)
            tokens, cu_seqlens = packed_views(memory, stop - start)
            cumulative = gather_sequences(waiting.tokens, offsets, order[start:stop], tokens.numpy())
            cu_seqlens.numpy()[:] = cumulative
            statistics = pack_statistics(cumulative, self._token_budget)
            self.sequences_out += stop - start
            yield PackedBatch(
                tokens,
                cu_seqlens,
                statistics.max_length,
                positions[start:stop],
                self._sequence_ids(positions[start:stop]),
                statistics,
                collate_start_ns=start_ns,
                collate_end_ns=monotonic_ns(),
                arrivals=arrivals[start:stop],
                memory=memory,
            )
            start_ns = monotonic_ns()

    def _sequence_ids(self, positions: NDArray[np.int64]) -> Sequence[str]:
        if self._item_ids is not None:
            return [self._item_ids.pop(position) for position in positions.tolist()]
        if self.resolve_ids is not None:
            return self.resolve_ids(positions)
        return [str(position) for position in positions.tolist()]

    def _check_chunk(self, chunk: EncodedChunk) -> None:
        if self._item_ids is not None:
            raise ValueError("encoded chunks and plain sequences cannot be mixed in one pass: call reset() between")
        longest = int(np.diff(chunk.offsets).max(initial=0)) - 2
        if longest > self.max_sequence_length:
            raise ValueError(
                f"max_sequence_length is {self.max_sequence_length}, but the dataset sends sequences of "
                f"{longest} residues; give both the same limit"
            )

    def _encode(self, items: Iterable[SequenceItem]) -> EncodedChunk:
        pairs = checked_pairs(items, self.sequences_in)
        if self._item_ids is None:
            if self.sequences_in:
                raise ValueError("encoded chunks and plain sequences cannot be mixed in one pass: call reset() between")
            self._item_ids = {}
        positions = np.arange(self.sequences_in, self.sequences_in + len(pairs), dtype=np.int64)
        alphabet = self._alphabet = residue_alphabet(self._alphabet)
        # One byte per letter: letters outside ASCII become "?", which no alphabet contains.
        texts = [sequence.encode("ascii", errors="replace") for _, sequence in pairs]
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        encoded = encode_residues(
            b"".join(texts),
            ends - np.array([len(text) for text in texts], dtype=np.int64),
            ends,
            alphabet.table,
            bos=alphabet.bos,
            eos=alphabet.eos,
            unknown=alphabet.unknown,
            max_residues=self.max_sequence_length,
        )
        empty = np.flatnonzero(np.diff(encoded.offsets) == 2)
        if len(empty):
            raise WorkloadError(
                f"the sequence {shown(pairs[empty[0]][0])} (position {positions[empty[0]]}) has no residues"
            )
        self._item_ids.update(zip(positions.tolist(), (name for name, _ in pairs), strict=True))
        return EncodedChunk(positions, encoded.tokens, encoded.offsets, encoded.truncated, encoded.unknown_residues)
