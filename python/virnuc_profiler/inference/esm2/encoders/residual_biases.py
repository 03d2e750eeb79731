# SPDX-License-Identifier: MIT
"""Biases that are kept out of the residual stream, as running sums that the layer norms add."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

import torch
from torch import Tensor

from virnuc_profiler.inference.esm2.encoders.encoder_contract import EncodedModel

_VERSION: Final = attrgetter("_version")


class ResidualBiases:
    """Running sums of the residual stream's biases before each layer norm, recomputed when a bias changes."""

    def __init__(self) -> None:
        self._state: object = None
        self._sums: Tensor | None = None

    def for_model(self, model: EncodedModel) -> Tensor:
        """Return the sums; another tensor object if a bias has moved or changed since the last call.

        Args:
            model: Model with L layers of hidden size h.

        Returns:
            (2 L + 1, h) float32: before each layer's two norms, and before the final one.
        """
        biases = stream_biases(model.layers)
        state = list(map(Tensor.data_ptr, biases)), _versions(biases)
        if self._sums is None or state != self._state:
            zero = torch.zeros_like(biases[0], dtype=torch.float32)
            self._sums = torch.stack([zero, *(bias.float() for bias in biases)]).cumsum(0)
            self._state = state
        return self._sums


def stream_biases(layers: Any) -> list[Tensor]:
    """Return the biases of the two products in each layer that are added to the residual stream, (h,) each.

    It runs once per pack, so it reads the modules' dictionaries directly: attribute access takes five times as long.

    Args:
        layers: Layers of the encoder, an ``nn.ModuleList`` of EncoderLayer.
    """
    found: list[Tensor] = []
    for layer in layers._modules.values():
        parts = layer._modules
        try:
            found += parts["attention_out"]._parameters["bias"], parts["down"]._parameters["bias"]
        except KeyError:  # a wrapped layer, which forwards attributes only
            found += layer.attention_out.bias, layer.down.bias
    return found


def _versions(tensors: list[Tensor]) -> list[int | None]:
    """Return how often each tensor was changed; None for inference tensors, whose changes PyTorch does not count."""
    try:
        return list(map(_VERSION, tensors))
    except RuntimeError:
        return [None if tensor.is_inference() else tensor._version for tensor in tensors]
