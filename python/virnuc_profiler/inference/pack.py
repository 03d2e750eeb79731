# SPDX-License-Identifier: MIT
"""What the layers need to know of a pack, worked out once for all of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Pack:
    """Where sequences lie in a pack of T tokens and B sequences. Building it never waits for the device.

    Attributes:
        cu_seqlens: (B + 1,) int32 on the device, cumulative lengths from 0.
        max_seqlen: longest sequence in tokens.
        sequence_of: (T,) int64 on the device, the sequence that each token belongs to.
        positions: (T,) int32 on the device, place of each token in its sequence, from 0.
        host_lengths: length of each sequence in tokens, if the host knows them.
    """

    cu_seqlens: Tensor
    max_seqlen: int
    sequence_of: Tensor
    positions: Tensor
    host_lengths: list[int] | None = None

    @classmethod
    def build(
        cls, total_tokens: int, cu_seqlens: Tensor, max_seqlen: int, host_cu_seqlens: Tensor | None = None
    ) -> Pack:
        """Works out sequence and position of each token with three small kernels.

        Args:
            total_tokens: T, from the shape of the tokens.
            cu_seqlens: (B + 1,) int32, on the device of the model.
            max_seqlen: longest sequence in tokens.
            host_cu_seqlens: the same as `cu_seqlens`, on the CPU; needless where that is on the CPU itself.
        """
        if host_cu_seqlens is None and cu_seqlens.device.type == "cpu":
            host_cu_seqlens = cu_seqlens
        tokens = torch.arange(total_tokens, dtype=cu_seqlens.dtype, device=cu_seqlens.device)
        sequence_of = torch.bucketize(tokens, cu_seqlens[1:], right=True)
        return cls(
            cu_seqlens=cu_seqlens,
            max_seqlen=max_seqlen,
            sequence_of=sequence_of,
            positions=tokens - cu_seqlens[sequence_of],
            host_lengths=None if host_cu_seqlens is None else host_cu_seqlens.diff().tolist(),
        )

    @property
    def lengths(self) -> Tensor:
        """(B,) int32 on the device: tokens of each sequence, BOS and EOS included."""
        return self.cu_seqlens.diff()
