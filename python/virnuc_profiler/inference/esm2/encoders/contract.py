# SPDX-License-Identifier: MIT
"""What an encoder uses of a model. Encoders know nothing else of it, so the model can know the encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn

from virnuc_profiler.inference.esm2.config import Architecture
from virnuc_profiler.inference.esm2.layers import EncoderLayer


class EncodedModel(Protocol):
    """The weights and the shape of an ESM-2 model.

    Attributes:
        architecture: Shape of the encoder.
        embed_tokens: Embedding of the alphabet, (33, h).
        layers: Transformer layers, first to last.
        final_norm: Layer norm after the last layer.
    """

    architecture: Architecture
    embed_tokens: nn.Embedding
    layers: Sequence[EncoderLayer]
    final_norm: nn.LayerNorm

    @property
    def embed_dim(self) -> int:
        """Size h of a token's representation."""

    @property
    def attention_heads(self) -> int:
        """Number of attention heads in each layer."""

    @property
    def dtype(self) -> torch.dtype:
        """Data type of weights, activations and results."""

    @property
    def device(self) -> torch.device:
        """Device that holds the weights."""
