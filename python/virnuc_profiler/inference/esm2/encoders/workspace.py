# SPDX-License-Identifier: MIT
"""The memory in which a layer's intermediate results lie, allocated once per pack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from virnuc_profiler.inference.esm2.encoders.encoder_contract import EncodedModel

_TOKEN_MULTIPLE: Final = 64
"""Space is allocated for a multiple of this many tokens, so that each part starts at a 128-byte line of memory."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """One (T, 5 h) workspace, reused by all layers.

    Allocated one by one in each layer, tensors of these sizes take (T, 8 h) at the worst moment, because the previous
    layer's tensor is freed only when the next one exists. They also fragment the allocator's memory: of 2.3 GB that a
    process was allowed, a quarter was free but unusable.

    Attributes:
        normed: (T, h) input of a matrix product.
        qkv: (T, 3, heads, head_dim) queries, keys and values.
        attended: (T, heads, head_dim) output of attention.
        inner: (T, 4 h) inner activations of the feed-forward; they overlap `qkv` and `attended`, which are no longer
            needed by then.
    """

    normed: Tensor
    qkv: Tensor
    attended: Tensor
    inner: Tensor

    @classmethod
    def for_pack(cls, model: EncodedModel, tokens: int) -> Workspace:
        """Allocate the workspace of a pack on the model's device, in its data type.

        Args:
            model: Model that encodes the pack.
            tokens: Number of tokens T in the pack.
        """
        hidden_size, heads = model.hidden_size, model.attention_heads
        rows = -(-tokens // _TOKEN_MULTIPLE) * _TOKEN_MULTIPLE
        memory = torch.empty(5 * rows * hidden_size, dtype=model.dtype, device=model.device)

        def part(start: int, count: int) -> Tensor:
            """Return `count` of the five (T, h) parts, from number `start` on."""
            return memory.narrow(0, start * rows * hidden_size, count * tokens * hidden_size)

        return cls(
            normed=part(0, 1).view(tokens, hidden_size),
            qkv=part(1, 3).view(tokens, 3, heads, hidden_size // heads),
            attended=part(4, 1).view(tokens, heads, hidden_size // heads),
            inner=part(1, 4).view(tokens, 4 * hidden_size),
        )
