# SPDX-License-Identifier: MIT
"""Facts about a pack that all layers share, computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pack:
    """The sequences of a pack of T tokens and B sequences. No attribute ever waits for the device.

    Attributes:
        total_tokens: T, from the shape of the tokens.
        cu_seqlens: (B + 1,) int32 on the device, cumulative lengths from 0.
        max_seqlen: Tokens of the longest sequence.
        host_cu_seqlens: Copy of `cu_seqlens` on the CPU; None if the host does not know it.
    """

    total_tokens: int
    cu_seqlens: Tensor
    max_seqlen: int
    host_cu_seqlens: Tensor | None = None

    @property
    def num_sequences(self) -> int:
        """Number of sequences B."""
        return self.cu_seqlens.shape[0] - 1

    @cached_property
    def host_lengths(self) -> list[int] | None:
        """Tokens of each sequence; None if the host does not know them."""
        known = self.cu_seqlens if self.cu_seqlens.device.type == "cpu" else self.host_cu_seqlens
        return None if known is None else known.diff().tolist()

    @cached_property
    def sequence_of(self) -> Tensor:
        """(T,) int64 on the device: index of each token's sequence."""
        return torch.bucketize(self._tokens, self.cu_seqlens[1:], right=True)

    @cached_property
    def positions(self) -> Tensor:
        """(T,) int32 on the device: position of each token in its sequence, from 0."""
        return self._tokens - self.cu_seqlens[self.sequence_of]

    @property
    def lengths(self) -> Tensor:
        """(B,) int32 on the device: tokens of each sequence, BOS and EOS included."""
        return self.cu_seqlens.diff()

    @cached_property
    def _tokens(self) -> Tensor:
        return torch.arange(self.total_tokens, dtype=self.cu_seqlens.dtype, device=self.cu_seqlens.device)
