# SPDX-License-Identifier: MIT
"""Fill a model with random weights, which is enough for timings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from virnuc_profiler.inference.esm2.config import PADDING_TOKEN
from virnuc_profiler.inference.ops.rotary import exact_frequencies
from virnuc_profiler.inference.placement import PRECISIONS

if TYPE_CHECKING:
    from virnuc_profiler.inference.esm2.model import PackedESM2


def fill_randomly(model: PackedESM2, seed: int) -> None:
    """Fill a model in place with random weights, uniform within 1 / sqrt(inputs).

    The same seed gives the same weights on the same kind of device in the same precision. The global random state does
    not change.

    Args:
        model: Model to fill.
        seed: Random seed.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.weight.fill_(1.0)
            module.bias.zero_()
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            module.weight.uniform_(-bound, bound, generator=generator)
            module.bias.uniform_(-bound, bound, generator=generator)
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(generator=generator)
            module.weight[PADDING_TOKEN].zero_()
    model.rotary_frequencies = exact_frequencies(model.architecture.head_dim)
    model.weights, model.weights_source = f"random seed {seed}", "random"
    precision = next(name for name, dtype in PRECISIONS.items() if dtype == model.dtype)
    model.weights_fingerprint = f"{precision} random seed {seed} on {model.device.type}"
