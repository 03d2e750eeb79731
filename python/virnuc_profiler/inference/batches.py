# SPDX-License-Identifier: MIT
"""The records that pass through the pipeline: chunks from workers, packs to the model, results to the user."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from virnuc_profiler._core import PackStatistics


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """Sequences that a worker encoded, sent as one message instead of one per sequence.

    Attributes:
        positions: (n,) position of each sequence in its input, from 0; it identifies the sequence.
        tokens: (tokens,) uint8 tokens of all sequences, concatenated, each with its BOS and EOS.
        offsets: (n + 1,) int64 index in ``tokens`` at which each sequence starts, and the end of the last one.
        truncated: Number of sequences that were cut to the length limit.
        unknown_residues: Number of letters that the alphabet lacks.
        flush: Whether a collator packs all that it holds after this chunk, so that no batch has sequences of this chunk
            and of a later one.
    """

    positions: NDArray[np.int64]
    tokens: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    truncated: int = 0
    unknown_residues: int = 0
    flush: bool = False


_ALIGNMENT: Final = 16
"""Alignment of the tokens in bytes: Triton compiles another variant of a kernel for pointers that are less aligned."""


def packed_size(sequences: int, tokens: int) -> int:
    """Return the bytes of one block of memory for a pack, laid out as in `packed_views`.

    Args:
        sequences: Sequences in the pack.
        tokens: Tokens in the pack.
    """
    return _offset_of_tokens(sequences + 1) + tokens


def packed_views(memory: torch.Tensor, sequences: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a pack's tokens (uint8) and cumulative lengths (int32) as views of one block of memory.

    Args:
        memory: (packed_size,) uint8 block; the cumulative lengths come first, then the tokens.
        sequences: Sequences in the pack.
    """
    end, start = 4 * (sequences + 1), _offset_of_tokens(sequences + 1)
    lengths, _, tokens = memory.split_with_sizes((end, start - end, memory.shape[0] - start))
    return tokens, lengths.view(torch.int32)


def _offset_of_tokens(cumulative_lengths: int) -> int:
    """Return the byte offset of the tokens behind that number of cumulative lengths."""
    return -(-4 * cumulative_lengths // _ALIGNMENT) * _ALIGNMENT


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Sequences concatenated without padding, on the host.

    Attributes:
        tokens: (tokens,) uint8 on the CPU, pinned if the loader pins memory.
        cu_seqlens: (sequences + 1,) int32 on the CPU, cumulative lengths from 0, pinned if the loader pins memory.
        max_seqlen: Tokens of the longest sequence, known on the host so that no code has to ask the device.
        positions: (sequences,) position of each sequence in its input.
        sequence_ids: Identifiers in the order of ``positions``; they may be resolved when read.
        statistics: Packing statistics, relative to the token budget in force.
        collate_start_ns: Start of the packing of this batch on the monotonic clock.
        collate_end_ns: End of the packing of this batch on the monotonic clock.
        arrivals: (sequences,) number of sequences that the dataset produced before each one in this pass, which gives
            the reading order. None if the reading order is the order of ``positions``.
        memory: Block of uint8 memory that ``tokens`` and ``cu_seqlens`` are views of (see `packed_views`), so that one
            copy moves both to a device. None if they are separate.
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

    def contiguous_memory(self) -> torch.Tensor | None:
        """Return ``memory`` if ``tokens`` and ``cu_seqlens`` still are its views, else None.

        They are not after ``dataclasses.replace(batch, tokens=...)``.
        """
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
    """The embeddings of one batch, or of one group of sequences if results come in input order.

    Attributes:
        sequence_ids: Identifier of each row; they may be resolved when read.
        embeddings: (sequences, hidden_size) float32 on the CPU: means over the residues, BOS and EOS excluded.
        batch_idx: Number of the batch, or of the group, from 0.
        positions: (sequences,) position of each sequence in its input.
        non_finite: Identifiers of the sequences whose embedding contains NaN or infinity; normally empty.
    """

    sequence_ids: Sequence[str]
    embeddings: torch.Tensor
    batch_idx: int
    positions: NDArray[np.int64]
    non_finite: Sequence[str] = ()
