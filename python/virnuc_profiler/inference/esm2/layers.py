# SPDX-License-Identifier: MIT
"""The weights of one transformer layer."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn

from virnuc_profiler.inference.esm2.config import Architecture

NORM_EPS: Final = 1e-5
"""Added to the variance by all of ESM-2's layer norms."""


class EncoderLayer(nn.Module):
    """A pre-norm layer, with one matrix product for queries, keys and values. Encoders say how it is computed."""

    def __init__(self, architecture: Architecture, dtype: torch.dtype) -> None:
        super().__init__()
        width = architecture.embed_dim
        factory: Any = {"device": "meta", "dtype": dtype}
        self.attention_norm = nn.LayerNorm(width, eps=NORM_EPS, **factory)
        self.qkv = nn.Linear(width, 3 * width, **factory)
        self.attention_out = nn.Linear(width, width, **factory)
        self.feed_forward_norm = nn.LayerNorm(width, eps=NORM_EPS, **factory)
        self.up = nn.Linear(width, 4 * width, **factory)
        self.down = nn.Linear(4 * width, width, **factory)


def stream_biases(layers: Any) -> list[Tensor]:
    """The biases of the two products in each layer that end in the residual stream, (h,) each.

    Looked up where modules keep what is theirs: this is asked for every pack, and by way of their attributes takes
    five times as long.

    Args:
        layers: an ``nn.ModuleList`` of EncoderLayer.
    """
    found: list[Tensor] = []
    for layer in layers._modules.values():
        parts = layer._modules
        try:
            found += parts["attention_out"]._parameters["bias"], parts["down"]._parameters["bias"]
        except KeyError:  # one that is wrapped: it passes attributes on
            found += layer.attention_out.bias, layer.down.bias
    return found
