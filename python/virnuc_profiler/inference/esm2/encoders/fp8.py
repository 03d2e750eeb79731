# SPDX-License-Identifier: MIT
"""The encoder with most of its matrix products in FP8, which Hopper and later compute twice as fast as bf16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from virnuc_profiler.inference.esm2.encoders.encoder_contract import EncodedModel
from virnuc_profiler.inference.esm2.encoders.fused import FusedEncoder
from virnuc_profiler.inference.esm2.layers import NORM_EPS, EncoderLayer
from virnuc_profiler.inference.kernels.availability import unavailable_reason
from virnuc_profiler.inference.ops.attention import Attend, AttentionBackend
from virnuc_profiler.inference.ops.pack import Pack

if TYPE_CHECKING:
    from virnuc_profiler.inference.esm2.encoders.projections import Rotation


def fp8_unavailable_reason(device: torch.device, dtype: torch.dtype) -> str:
    """Return why FP8 matrix products cannot run; empty if they can.

    Args:
        device: Device that would run them.
        dtype: Data type of everything that is not in FP8.
    """
    reason = unavailable_reason(device, dtype)
    if reason:
        return reason
    if dtype != torch.bfloat16:
        return f"the rest of the model must be in bf16, not {dtype}"
    if torch.cuda.get_device_capability(device) < (9, 0):
        return f"{torch.cuda.get_device_name(device)} is older than Hopper (compute capability 9.0)"
    return ""


@dataclass(frozen=True, slots=True)
class Fp8Linear:
    """A linear layer with FP8 weights.

    Attributes:
        weight: (n, outputs) FP8, column-major, as the matrix product requires.
        scales: (1, outputs) float32, one scale per output.
        bias: (outputs,) bf16; None if the residual stream leaves it out.
    """

    weight: Tensor
    scales: Tensor
    bias: Tensor | None

    @classmethod
    def from_weight(cls, weight: Tensor, bias: Tensor | None = None) -> Fp8Linear:
        """Quantize the weights of a linear layer.

        Args:
            weight: (outputs, n) bf16.
            bias: (outputs,) bf16; None for no bias.
        """
        from virnuc_profiler.inference.kernels.quantize import quantize

        quantized, scales = quantize(weight)
        return cls(quantized.t(), scales.t(), bias)

    def __call__(self, quantized: tuple[Tensor, Tensor]) -> Tensor:
        """Multiply (T, n) FP8 rows with (T, 1) scales by the weights; return (T, outputs) bf16."""
        rows, scales = quantized
        return torch._scaled_mm(
            rows, self.weight, scales, self.scales, self.bias, out_dtype=torch.bfloat16, use_fast_accum=True
        )


@dataclass(frozen=True, slots=True)
class _Layer:
    queries_and_keys: Fp8Linear
    up: Fp8Linear
    down: Fp8Linear

    @classmethod
    def from_layer(cls, layer: EncoderLayer) -> _Layer:
        rows = 2 * layer.attention_out.out_features  # queries and keys come before the values
        return cls(
            queries_and_keys=Fp8Linear.from_weight(layer.qkv.weight[:rows], layer.qkv.bias[:rows]),
            up=Fp8Linear.from_weight(layer.up.weight, layer.up.bias),
            down=Fp8Linear.from_weight(layer.down.weight),
        )


class Fp8Encoder(FusedEncoder):
    """Run five sixths of the arithmetic in FP8; the kernel that produces a product's input quantizes it row by row.

    Values, the output projection of attention, norms, attention and the residual stream stay in bf16. Attention
    averages over tokens, which dampens the rounding errors of activations, but not those of the weights of these two
    products.
    """

    def __init__(self, attention: AttentionBackend) -> None:
        super().__init__(attention)
        self._quantized_from: object = None
        self._layers: list[_Layer] = []

    def prepare(self, model: EncodedModel) -> Tensor:
        """Quantize the weights if they have moved or their biases changed; return the sums of `ResidualBiases`."""
        biases = super().prepare(model)
        if biases is not self._quantized_from:
            self._layers = [_Layer.from_layer(layer) for layer in model.layers]
            self._quantized_from = biases
        return biases

    def __call__(self, model: EncodedModel, tokens: Tensor, pack: Pack, timestamps: Tensor | None = None) -> Tensor:
        """Compute the last layer's representation.

        Args:
            model: Weights of the encoder.
            tokens: (T,) integers.
            pack: The sequences of the pack.
            timestamps: Memory for the device timestamp of the start, as for ``embedding.describe_tokens``.

        Returns:
            (T, h) in the model's data type.
        """
        from virnuc_profiler.inference.kernels.layer_norm import layer_norm

        biases = self.prepare(model)
        x, rotation = self._embed(model, tokens, pack, timestamps)
        exact = torch.empty_like(x)
        # Attention overwrites the exact rows, which are no longer needed by then.
        attend = self._attention.plan(pack, out=exact.view(len(x), model.attention_heads, rotation.head_dim))
        update: Tensor | None = None
        for number, (layer, in_fp8) in enumerate(zip(model.layers, self._layers, strict=True)):
            _add_attention(layer, in_fp8, x, update, biases[2 * number], exact, rotation, attend)
            del update  # the stream includes it now; free its memory before the next allocation
            update = _feed_forward(layer, in_fp8, x, biases[2 * number + 1])
        assert update is not None  # there is at least one layer
        x.add_(update)
        return layer_norm(x, biases[-1], model.final_norm.weight, model.final_norm.bias, NORM_EPS, out=x)


# Each half of a layer is a function, so that its intermediate results are freed before the other half runs.


def _add_attention(
    layer: EncoderLayer,
    in_fp8: _Layer,
    x: Tensor,
    update: Tensor | None,
    offset: Tensor,
    exact: Tensor,
    rotation: Rotation,
    attend: Attend,
) -> None:
    """Add the previous layer's `update` and this layer's attention to the residual stream `x`, (T, h)."""
    from virnuc_profiler.inference.kernels.quantize import norm_quantize

    (tokens, hidden_size), norm = x.shape, layer.attention_norm
    rounded = norm_quantize(x, update, offset, norm.weight, norm.bias, NORM_EPS, exact=exact)
    queries_and_keys = in_fp8.queries_and_keys(rounded).view(tokens, 2, -1, rotation.head_dim)
    values = F.linear(exact, layer.qkv.weight[2 * hidden_size :], layer.qkv.bias[2 * hidden_size :])
    rotation.apply(queries_and_keys)
    queries, keys = queries_and_keys.unbind(1)
    attended = attend(queries, keys, values.view(tokens, -1, rotation.head_dim))
    x.addmm_(attended.flatten(1), layer.attention_out.weight.t())


def _feed_forward(layer: EncoderLayer, in_fp8: _Layer, x: Tensor, offset: Tensor) -> Tensor:
    """Return the feed-forward's update of the residual stream `x`, (T, h)."""
    from virnuc_profiler.inference.kernels.quantize import gelu_quantize, norm_quantize

    norm = layer.feed_forward_norm
    # Intermediate results have no name, so that each is freed as soon as it has been read.
    return in_fp8.down(gelu_quantize(in_fp8.up(norm_quantize(x, None, offset, norm.weight, norm.bias, NORM_EPS))))
