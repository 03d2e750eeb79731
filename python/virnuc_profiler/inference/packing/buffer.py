# SPDX-License-Identifier: MIT
"""Encoded sequences that wait to be packed, as arrays: no Python object for each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler._core import gather_sequences
from virnuc_profiler.inference.batches import EncodedChunk


@dataclass(frozen=True, slots=True)
class WaitingSequences:
    """Sequences in the order in which they came.

    Attributes:
        tokens: (tokens,) uint8, sequence after sequence.
        lengths: (n,) tokens of each.
        positions: (n,) position of each in its input.
        arrivals: (n,) how many came before each in this pass.
        held_back: (n,) how often each was put back already.
    """

    tokens: NDArray[np.uint8]
    lengths: NDArray[np.int64]
    positions: NDArray[np.int64]
    arrivals: NDArray[np.int64]
    held_back: NDArray[np.int64]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """(n + 1,) where each sequence starts in ``tokens``."""
        return offsets_of(self.lengths)

    def __len__(self) -> int:
        return len(self.lengths)


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n + 1,) where each of n sequences that follow each other starts, and where the last one ends."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])


class PackBuffer:
    """Collects waiting sequences in pieces, and joins the pieces only when they are to be packed."""

    def __init__(self) -> None:
        self._pieces: list[WaitingSequences] = []
        self.sequences = 0
        self.tokens = 0

    def add(self, chunk: EncodedChunk, start: int, stop: int, came_before: int) -> None:
        """Adds the sequences ``start`` to ``stop`` of a chunk, without copying their tokens.

        Args:
            chunk: what came.
            start: the first of its sequences to add.
            stop: the one after the last.
            came_before: sequences that came before the chunk in this pass.
        """
        offsets = chunk.offsets[start : stop + 1]
        self._add(
            WaitingSequences(
                chunk.tokens[offsets[0] : offsets[-1]],
                np.diff(offsets),
                chunk.positions[start:stop],
                np.arange(came_before + start, came_before + stop, dtype=np.int64),
                np.zeros(stop - start, dtype=np.int64),
            )
        )

    def take(self) -> WaitingSequences:
        """Empties the buffer."""
        pieces = self._pieces
        self.clear()
        if len(pieces) == 1:
            return pieces[0]
        return WaitingSequences(
            *(
                np.concatenate([getattr(piece, name) for piece in pieces])
                for name in ("tokens", "lengths", "positions", "arrivals", "held_back")
            )
        )

    def put_back(self, waiting: WaitingSequences, which: NDArray[np.int64]) -> None:
        """Keeps the sequences ``which`` of those taken, in the order in which they came."""
        if len(which) == 0:
            return
        which = np.sort(which)
        lengths = waiting.lengths[which]
        tokens = np.empty(int(lengths.sum()), dtype=np.uint8)
        gather_sequences(waiting.tokens, waiting.offsets, which, tokens)
        self._add(
            WaitingSequences(
                tokens, lengths, waiting.positions[which], waiting.arrivals[which], waiting.held_back[which] + 1
            )
        )

    def clear(self) -> None:
        """Forgets everything."""
        self._pieces = []
        self.sequences = 0
        self.tokens = 0

    def _add(self, piece: WaitingSequences) -> None:
        self._pieces.append(piece)
        self.sequences += len(piece)
        self.tokens += len(piece.tokens)
