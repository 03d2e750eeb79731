# SPDX-License-Identifier: MIT
"""Buffer encoded sequences until they are packed, as arrays instead of one Python object per sequence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler._core import gather_sequences
from virnuc_profiler.inference.batches import EncodedChunk


@dataclass(frozen=True, slots=True)
class WaitingSequences:
    """Buffered sequences in the order of their arrival.

    Attributes:
        tokens: (tokens,) uint8 tokens of all sequences, concatenated.
        lengths: (n,) tokens of each sequence.
        positions: (n,) position of each sequence in its input.
        arrivals: (n,) number of sequences that arrived before each one in this pass.
        held_back: (n,) number of packings after which each sequence was put back.
    """

    tokens: NDArray[np.uint8]
    lengths: NDArray[np.int64]
    positions: NDArray[np.int64]
    arrivals: NDArray[np.int64]
    held_back: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the start of each of n concatenated sequences, and the end of the last one.

    Args:
        lengths: (n,) tokens of each sequence.

    Returns:
        (n + 1,) offsets in tokens.
    """
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])


class PackBuffer:
    """Collect waiting sequences in pieces, and concatenate the pieces when they are packed.

    Attributes:
        sequences: Number of buffered sequences.
        tokens: Number of buffered tokens.
    """

    def __init__(self) -> None:
        self._pieces: list[WaitingSequences] = []
        self.sequences = 0
        self.tokens = 0

    def add(self, chunk: EncodedChunk, start: int, stop: int, first_arrival: int) -> None:
        """Add sequences `start` to `stop` of a chunk, without copying their tokens.

        Args:
            chunk: Chunk that holds the sequences.
            start: Index of the first sequence to add.
            stop: Index after the last sequence to add.
            first_arrival: Number of sequences that arrived before the chunk in this pass.
        """
        offsets = chunk.offsets[start : stop + 1]
        self._add(
            WaitingSequences(
                chunk.tokens[offsets[0] : offsets[-1]],
                np.diff(offsets),
                chunk.positions[start:stop],
                np.arange(first_arrival + start, first_arrival + stop, dtype=np.int64),
                np.zeros(stop - start, dtype=np.int64),
            )
        )

    def take(self) -> WaitingSequences:
        """Empty the buffer and return its sequences."""
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
        """Put sequences that were taken back into the buffer, in the order of their arrival.

        Args:
            waiting: Sequences returned by `take`.
            which: (n,) indices of those to put back.
        """
        if len(which) == 0:
            return
        which = np.sort(which)
        lengths = waiting.lengths[which]
        tokens = np.empty(int(lengths.sum()), dtype=np.uint8)
        gather_sequences(waiting.tokens, offsets_of(waiting.lengths), which, tokens)
        self._add(
            WaitingSequences(
                tokens, lengths, waiting.positions[which], waiting.arrivals[which], waiting.held_back[which] + 1
            )
        )

    def clear(self) -> None:
        """Drop all buffered sequences."""
        self._pieces = []
        self.sequences = 0
        self.tokens = 0

    def _add(self, piece: WaitingSequences) -> None:
        self._pieces.append(piece)
        self.sequences += len(piece)
        self.tokens += len(piece.tokens)
