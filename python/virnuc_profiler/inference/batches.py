# SPDX-License-Identifier: MIT
"""What travels between the rooms of the pipeline: chunks from workers, packs to the model, results to the user."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from virnuc_profiler._core import PackStatistics


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """Some sequences, encoded by a worker: one message instead of one per sequence.

    Attributes:
        positions: (n,) position of each sequence in its input, from 0; this is a sequence's identity.
        tokens: (tokens,) uint8, sequence after sequence, each with its BOS and EOS.
        offsets: (n + 1,) int64, where each sequence starts in ``tokens``.
        truncated: sequences that were cut to the limit.
        unknown_residues: letters that the alphabet lacks.
    """

    positions: NDArray[np.int64]
    tokens: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    truncated: int = 0
    unknown_residues: int = 0


_ALIGNMENT: Final = 16
"""Of tokens, in bytes: kernels that are compiled for what is less aligned are other ones."""


def packed_size(sequences: int, tokens: int) -> int:
    """Bytes of a pack in one piece of memory, see :func:`packed_views`."""
    return _offset_of_tokens(sequences + 1) + tokens


def packed_views(memory: torch.Tensor, sequences: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A pack's tokens, uint8, and its cumulative lengths, int32: views over one piece of memory.

    Args:
        memory: (packed_size,) uint8; lengths come first, tokens last.
        sequences: in the pack.
    """
    end, start = 4 * (sequences + 1), _offset_of_tokens(sequences + 1)
    lengths, _, tokens = memory.split_with_sizes((end, start - end, memory.shape[0] - start))
    return tokens, lengths.view(torch.int32)


def _offset_of_tokens(ends: int) -> int:
    return -(-4 * ends // _ALIGNMENT) * _ALIGNMENT


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Sequences packed one after the other, without padding, on the host.

    Attributes:
        tokens: (tokens,) uint8 on the CPU, pinned if the loader pins memory.
        cu_seqlens: (sequences + 1,) int32 on the CPU, cumulative lengths from 0, pinned alike.
        max_seqlen: longest sequence in tokens, known on the host so that nobody must ask the device.
        positions: (sequences,) position of each sequence in its input.
        sequence_ids: identifiers, in the order of ``positions``; may be resolved only when read.
        statistics: packing statistics against the budget in force.
        collate_start_ns: when the packing of this batch began, on the monotonic clock.
        collate_end_ns: when it ended.
        arrivals: (sequences,) how many sequences the dataset gave before each in this pass: the order in which it reads
            them, whatever their positions. None where that is the order of ``positions``.
        memory: uint8, what ``tokens`` and ``cu_seqlens`` are views over (see :func:`packed_views`), so that one copy
            takes both to a device; None where they lie apart.
    """

    tokens: torch.Tensor
    cu_seqlens: torch.Tensor
    max_seqlen: int
    positions: NDArray[np.int64]
    sequence_ids: Sequence[str]
    statistics: PackStatistics
    collate_start_ns: int
    collate_end_ns: int
    arrivals: NDArray[np.int64] | None = None
    memory: torch.Tensor | None = None

    def in_one_piece(self) -> torch.Tensor | None:
        """``memory`` if ``tokens`` and ``cu_seqlens`` are what lies in it, which replacing one of them may end."""
        if self.memory is None:
            return None
        start, offset = self.memory.data_ptr(), _offset_of_tokens(self.cu_seqlens.shape[0])
        found = (
            (self.cu_seqlens.data_ptr(), self.cu_seqlens.dtype),
            (self.tokens.data_ptr(), self.tokens.dtype, self.tokens.shape[0]),
        )
        expected = (start, torch.int32), (start + offset, torch.uint8, self.memory.shape[0] - offset)
        return self.memory if found == expected else None


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """The embeddings of one batch, or of one group of sequences where they come in input order.

    Attributes:
        sequence_ids: identifiers, one for each row; may be resolved only when read.
        embeddings: (sequences, embed_dim) float32 on the CPU: the mean over residues, BOS and EOS left out.
        batch_idx: number of the batch, or of the group, from 0.
        positions: (sequences,) position of each sequence in its input.
        non_finite: identifiers of the sequences whose embedding holds NaN or infinity; normally none.
    """

    sequence_ids: Sequence[str]
    embeddings: torch.Tensor
    batch_idx: int
    positions: NDArray[np.int64]
    non_finite: Sequence[str] = ()
