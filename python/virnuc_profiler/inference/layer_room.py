# SPDX-License-Identifier: MIT
"""Memory for what a layer makes on its way, taken once for all layers of a pack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from virnuc_profiler.inference.packed_esm2 import PackedESM2

_ALIGNED_TOKENS = 64
"""Room is taken for a multiple of so many, so that each part begins at the start of a line of memory."""


@dataclass(frozen=True, slots=True)
class LayerRoom:
    """Five numbers for each token and each of the h places of its vector, in one piece.

    Asked for one by one, layer by layer, tensors of these sizes take eight at the worst moment, since one is let go of
    only when the next layer has made it anew. And they cut the allocator's memory into pieces: of 2.3 GB that a process
    was allowed, a quarter has been seen to be free and of no use.

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
    def of(cls, model: PackedESM2, tokens: int) -> LayerRoom:
        """Takes room for a pack of T tokens where the model is, in its dtype."""
        width, heads = model.embed_dim, model.attention_heads
        rows = -(-tokens // _ALIGNED_TOKENS) * _ALIGNED_TOKENS
        memory = torch.empty(5 * rows * width, dtype=model.dtype, device=model.device)

        def part(begin: int, numbers: int) -> Tensor:
            """So many numbers for each token and place, after those that `begin` others take."""
            return memory.narrow(0, begin * rows * width, numbers * tokens * width)

        return cls(
            normed=part(0, 1).view(tokens, width),
            qkv=part(1, 3).view(tokens, 3, heads, width // heads),
            attended=part(4, 1).view(tokens, heads, width // heads),
            inner=part(1, 4).view(tokens, 4 * width),
        )
