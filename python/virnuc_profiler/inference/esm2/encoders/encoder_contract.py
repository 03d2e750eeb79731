# SPDX-License-Identifier: MIT
"""The part of a model that encoders use. They depend on nothing else of it, so the model can import the encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

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
    def hidden_size(self) -> int:
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

    @property
    def rotary_frequencies(self) -> Tensor:
        """(head_dim / 2,) float32 on the device: rotation of each pair of a head per position, in radians."""
