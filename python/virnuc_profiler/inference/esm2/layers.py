# SPDX-License-Identifier: MIT
"""The weights of one transformer layer."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn

from virnuc_profiler.inference.esm2.config import Architecture

NORM_EPS: Final = 1e-5
"""Constant that ESM-2's layer norms add to the variance."""


class EncoderLayer(nn.Module):
    """Weights of a pre-norm layer, with one matrix for queries, keys and values.

    The encoders implement the computation.

    Args:
        architecture: Shape of the encoder.
        dtype: Data type of the weights.
    """

    def __init__(self, architecture: Architecture, dtype: torch.dtype) -> None:
        super().__init__()
        hidden_size = architecture.hidden_size
        factory: Any = {"device": "meta", "dtype": dtype}
        self.attention_norm = nn.LayerNorm(hidden_size, eps=NORM_EPS, **factory)
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, **factory)
        self.attention_out = nn.Linear(hidden_size, hidden_size, **factory)
        self.feed_forward_norm = nn.LayerNorm(hidden_size, eps=NORM_EPS, **factory)
        self.up = nn.Linear(hidden_size, 4 * hidden_size, **factory)
        self.down = nn.Linear(4 * hidden_size, hidden_size, **factory)
