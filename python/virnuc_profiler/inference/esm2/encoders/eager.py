# SPDX-License-Identifier: MIT
"""The encoder in PyTorch's own operations: runs everywhere, in every precision."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from virnuc_profiler.inference.esm2.config import MASK_TOKEN
from virnuc_profiler.inference.esm2.encoders.contract import EncodedModel
from virnuc_profiler.inference.esm2.layers import EncoderLayer
from virnuc_profiler.inference.ops.attention import Attend, AttentionBackend
from virnuc_profiler.inference.ops.pack import Pack
from virnuc_profiler.inference.ops.rotary import apply_rotary, rotary_tables

UNMASKED_IN_TRAINING = 1 - 0.15 * 0.8
"""Share of tokens that were not <mask> in training; ESM-2 scales its embeddings as if the others still were."""


class EagerEncoder:
    """Operation by operation."""

    kernels = "torch"

    def __init__(self, attention: AttentionBackend) -> None:
        self._attention = attention

    def __call__(self, model: EncodedModel, tokens: Tensor, pack: Pack) -> Tensor:
        """(T,) tokens to the last layer's representation, (T, h)."""
        cos, sin = rotary_tables(pack.positions, model.architecture.head_dim, model.dtype)
        attend = self._attention.plan(pack)
        x = _embed(model, tokens, pack)
        for layer in model.layers:
            x = x + _attention(layer, layer.attention_norm(x), cos, sin, attend)
            x = x + layer.down(F.gelu(layer.up(layer.feed_forward_norm(x))))
        out: Tensor = model.final_norm(x)
        return out


def _attention(layer: EncoderLayer, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
    """Attention within each sequence, (T, h) to (T, h)."""
    head_dim = cos.shape[-1]
    qkv = layer.qkv(x).unflatten(-1, (3, -1, head_dim))
    q, k = apply_rotary(qkv[:, :2], cos, sin).unbind(1)
    out: Tensor = layer.attention_out(attend(q, k, qkv[:, 2]).flatten(1))
    return out


def _embed(model: EncodedModel, tokens: Tensor, pack: Pack) -> Tensor:
    """Embeds tokens and scales them as ESM-2 was trained to see them, (T,) to (T, h).

    Masked tokens are zero, and each sequence is scaled by (1 - 0.12) / (1 - its share of masked tokens).
    """
    is_mask = tokens == MASK_TOKEN
    lengths = pack.lengths.float()
    masked = torch.zeros_like(lengths).index_add_(0, pack.sequence_of, is_mask.float())
    scales = UNMASKED_IN_TRAINING / (1 - masked / lengths)
    scale = scales[pack.sequence_of].masked_fill_(is_mask, 0.0)
    # In fp32: 0.88 rounded to bf16 would make every embedding 0.13 % too small.
    x: Tensor = model.embed_tokens(tokens.int()) * scale[:, None]
    return x.to(model.dtype)
