# SPDX-License-Identifier: MIT
"""The encoder in PyTorch's own operations: runs on every device and in every precision."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from virnuc_profiler.inference.esm2.config import MASK_TOKEN
from virnuc_profiler.inference.esm2.encoders.encoder_contract import EncodedModel
from virnuc_profiler.inference.esm2.layers import EncoderLayer
from virnuc_profiler.inference.ops.attention import Attend, AttentionBackend
from virnuc_profiler.inference.ops.pack import Pack
from virnuc_profiler.inference.ops.rotary import apply_rotary, rotary_tables

UNMASKED_IN_TRAINING = 1 - 0.15 * 0.8
"""Share of tokens that were not <mask> in training (fair-esm: ``mask_ratio_train``). ESM-2's token dropout scales
embeddings by this share over a sequence's own, so that their mean magnitude is the same as in training."""


class EagerEncoder:
    """Run the forward operation by operation.

    Args:
        attention: Backend that computes attention.
    """

    kernels = "torch"

    def __init__(self, attention: AttentionBackend) -> None:
        self._attention = attention

    def __call__(self, model: EncodedModel, tokens: Tensor, pack: Pack) -> Tensor:
        """Compute the last layer's representation.

        Args:
            model: Weights of the encoder.
            tokens: (T,) integers.
            pack: The sequences of the pack.

        Returns:
            (T, h) in the model's data type.
        """
        cos, sin = rotary_tables(pack.positions, model.rotary_frequencies, model.dtype)
        attend = self._attention.plan(pack)
        x = _embed(model, tokens, pack)
        for layer in model.layers:
            x = x + _attention(layer, layer.attention_norm(x), cos, sin, attend)
            x = x + layer.down(F.gelu(layer.up(layer.feed_forward_norm(x))))
        out: Tensor = model.final_norm(x)
        return out


def _attention(layer: EncoderLayer, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
    """Compute attention within each sequence, (T, h) to (T, h)."""
    head_dim = cos.shape[-1]
    qkv = layer.qkv(x).unflatten(-1, (3, -1, head_dim))
    q, k = apply_rotary(qkv[:, :2], cos, sin).unbind(1)
    out: Tensor = layer.attention_out(attend(q, k, qkv[:, 2]).flatten(1))
    return out


def _embed(model: EncodedModel, tokens: Tensor, pack: Pack) -> Tensor:
    """Embed tokens and scale them as in ESM-2's training, (T,) to (T, h).

    Masked tokens become zero, and the others are scaled by (1 - 0.12) / (1 - the sequence's share of masked tokens), as
    in fair-esm's token dropout.
    """
    is_mask = tokens == MASK_TOKEN
    lengths = pack.lengths.float()
    masked = torch.zeros_like(lengths).index_add_(0, pack.sequence_of, is_mask.float())
    scales = UNMASKED_IN_TRAINING / (1 - masked / lengths)
    scale = scales[pack.sequence_of].masked_fill_(is_mask, 0.0)
    # Scale in fp32: 0.88 rounded to bf16 would make every embedding 0.13 % too small.
    x: Tensor = model.embed_tokens(tokens.int()) * scale[:, None]
    return x.to(model.dtype)
