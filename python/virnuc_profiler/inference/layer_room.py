# SPDX-License-Identifier: MIT
"""Memory for what a layer makes on its way, taken once for all layers of a pack."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_ALIGNED_TOKENS = 64
"""Rows are allotted by so many, so that each part begins at the start of a line of memory."""


@dataclass(frozen=True, slots=True)
class LayerRoom:
    """Five numbers for each token and each of the h places of its vector, in one piece.

    Asked for one by one and layer by layer, tensors of these sizes would cut the allocator's blocks up between them:
    of 2.3 GB that a process may hold, a quarter has been seen to be free and of no use. And what a layer no longer
    needs stays held until the next one has made it anew, nine numbers at the most instead of these and the stream.

    Attributes:
        normed: (T, h), what goes into a product.
        qkv: (T, 3, heads, head_dim), queries, keys and values.
        attended: (T, heads, head_dim).
        inner: (T, 4 h), of the feed-forward: over `qkv` and `attended`, which are done with by then.
    """

    normed: Tensor
    qkv: Tensor
    attended: Tensor
    inner: Tensor

    @classmethod
    def like(cls, x: Tensor, heads: int) -> LayerRoom:
        """Takes room beside the residual stream `x`, (T, h)."""
        tokens, width = x.shape
        rows = -(-tokens // _ALIGNED_TOKENS) * _ALIGNED_TOKENS
        memory = torch.empty(rows * 5 * width, dtype=x.dtype, device=x.device)

        def part(begin: int, numbers: int) -> Tensor:
            """`numbers` for each token and place, after `begin` of them."""
            return memory.narrow(0, begin * rows * width, numbers * tokens * width)

        return cls(
            normed=part(0, 1).view(tokens, width),
            qkv=part(1, 3).view(tokens, 3, heads, width // heads),
            attended=part(4, 1).view(tokens, heads, width // heads),
            inner=part(1, 4).view(tokens, 4 * width),
        )
