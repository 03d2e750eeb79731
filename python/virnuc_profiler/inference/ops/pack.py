# SPDX-License-Identifier: MIT
"""What the layers need to know of a pack, worked out once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pack:
    """Where sequences lie in a pack of T tokens and B sequences. Nothing here ever waits for the device.

    Attributes:
        total_tokens: T, from the shape of the tokens.
        cu_seqlens: (B + 1,) int32 on the device, cumulative lengths from 0.
        max_seqlen: longest sequence in tokens.
        host_cu_seqlens: the same as `cu_seqlens`, on the CPU, if the host knows it.
    """

    total_tokens: int
    cu_seqlens: Tensor
    max_seqlen: int
    host_cu_seqlens: Tensor | None = None

    @property
    def num_sequences(self) -> int:
        """B."""
        return self.cu_seqlens.shape[0] - 1

    @cached_property
    def host_lengths(self) -> list[int] | None:
        """Length of each sequence in tokens, if the host knows them."""
        known = self.cu_seqlens if self.cu_seqlens.device.type == "cpu" else self.host_cu_seqlens
        return None if known is None else known.diff().tolist()

    @cached_property
    def sequence_of(self) -> Tensor:
        """(T,) int64 on the device, the sequence that each token belongs to."""
        return torch.bucketize(self._tokens, self.cu_seqlens[1:], right=True)

    @cached_property
    def positions(self) -> Tensor:
        """(T,) int32 on the device, place of each token in its sequence, from 0."""
        return self._tokens - self.cu_seqlens[self.sequence_of]

    @property
    def lengths(self) -> Tensor:
        """(B,) int32 on the device: tokens of each sequence, BOS and EOS included."""
        return self.cu_seqlens.diff()

    @cached_property
    def _tokens(self) -> Tensor:
        return torch.arange(self.total_tokens, dtype=self.cu_seqlens.dtype, device=self.cu_seqlens.device)
