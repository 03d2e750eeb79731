# SPDX-License-Identifier: MIT
"""The encoder with most of its matrix products in FP8, which Hopper and later compute twice as fast as bf16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from virnuc_profiler.inference.esm2.encoders.contract import EncodedModel
from virnuc_profiler.inference.esm2.encoders.fused import FusedEncoder
from virnuc_profiler.inference.esm2.layers import NORM_EPS, EncoderLayer
from virnuc_profiler.inference.kernels.availability import unavailable_reason
from virnuc_profiler.inference.ops.attention import Attend, AttentionBackend
from virnuc_profiler.inference.ops.pack import Pack

if TYPE_CHECKING:
    from virnuc_profiler.inference.esm2.encoders.projections import Rotation


def fp8_unavailable_reason(device: torch.device, dtype: torch.dtype) -> str:
    """Why products in FP8 cannot run there; empty if they can."""
    reason = unavailable_reason(device, dtype)
    if reason:
        return reason
    if dtype != torch.bfloat16:
        return f"what is not in FP8 must be in bf16, not {dtype}"
    if torch.cuda.get_device_capability(device) < (9, 0):
        return f"{torch.cuda.get_device_name(device)} is older than Hopper (compute capability 9.0)"
    return ""


@dataclass(frozen=True, slots=True)
class Fp8Linear:
    """A linear layer with its weights in FP8.

    Attributes:
        weight: (n, outputs) FP8, column by column in memory, as the products want it.
        scales: (1, outputs) float32, one for each output.
        bias: (outputs,) bf16; None where the residual stream leaves it out.
    """

    weight: Tensor
    scales: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None = None) -> Fp8Linear:
        """Rounds (outputs, n) weights."""
        from virnuc_profiler.inference.kernels.quantize import quantize

        rounded, scales = quantize(weight)
        return cls(rounded.t(), scales.t(), bias)

    def __call__(self, quantized: tuple[Tensor, Tensor]) -> Tensor:
        """(T, n) FP8 with (T, 1) scales, to (T, outputs) bf16."""
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
    def of(cls, layer: EncoderLayer) -> _Layer:
        both = 2 * layer.attention_out.out_features
        return cls(
            queries_and_keys=Fp8Linear.of(layer.qkv.weight[:both], layer.qkv.bias[:both]),
            up=Fp8Linear.of(layer.up.weight, layer.up.bias),
            down=Fp8Linear.of(layer.down.weight),
        )


class Fp8Encoder(FusedEncoder):
    """Five sixths of the arithmetic in FP8: each product's input is rounded row by row by the kernel that makes it.

    Values and the output of attention stay in bf16, like norms, attention and the residual stream: attention averages
    over tokens, and so what rounding does to activations fades, but what it does to those two weights does not.
    """

    def __init__(self, attention: AttentionBackend) -> None:
        super().__init__(attention)
        self._rounded_from: object = None
        self._layers: list[_Layer] = []

    def prepare(self, model: EncodedModel) -> Tensor:
        """Rounds the weights, and returns the biases; others when the weights have moved or their biases changed."""
        biases = super().prepare(model)
        if biases is not self._rounded_from:
            self._layers = [_Layer.of(layer) for layer in model.layers]
            self._rounded_from = biases
        return biases

    def __call__(self, model: EncodedModel, tokens: Tensor, pack: Pack) -> Tensor:
        """(T,) tokens to the last layer's representation, (T, h)."""
        from virnuc_profiler.inference.kernels.layer_norm import layer_norm

        biases = self.prepare(model)
        x, rotation = self._embed(model, tokens, pack)
        exact = torch.empty_like(x)
        # Attention writes over the exact rows, which are done with by then.
        attend = self._attention.plan(pack, out=exact.view(len(x), model.attention_heads, rotation.head_dim))
        update: Tensor | None = None
        for number, (layer, in_fp8) in enumerate(zip(model.layers, self._layers, strict=True)):
            _add_attention(layer, in_fp8, x, update, biases[2 * number], exact, rotation, attend)
            del update  # it is in the stream now, and its memory is wanted
            update = _feed_forward(layer, in_fp8, x, biases[2 * number + 1])
        assert update is not None  # there is at least one layer
        x.add_(update)
        return layer_norm(x, biases[-1], model.final_norm.weight, model.final_norm.bias, NORM_EPS, out=x)


# One function for each half of a layer, so that what is made in one is let go of before the other.


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
    """Adds to the residual stream `x`, (T, h), what is left of the layer before, and then this one's attention."""
    from virnuc_profiler.inference.kernels.quantize import norm_quantize

    (tokens, width), norm = x.shape, layer.attention_norm
    rounded = norm_quantize(x, update, offset, norm.weight, norm.bias, NORM_EPS, exact=exact)
    queries_and_keys = in_fp8.queries_and_keys(rounded).view(tokens, 2, -1, rotation.head_dim)
    values = F.linear(exact, layer.qkv.weight[2 * width :], layer.qkv.bias[2 * width :])
    rotation.apply(queries_and_keys)
    queries, keys = queries_and_keys.unbind(1)
    attended = attend(queries, keys, values.view(tokens, -1, rotation.head_dim))
    x.addmm_(attended.flatten(1), layer.attention_out.weight.t())


def _feed_forward(layer: EncoderLayer, in_fp8: _Layer, x: Tensor, offset: Tensor) -> Tensor:
    """What is to be added to `x`, (T, h)."""
    from virnuc_profiler.inference.kernels.quantize import gelu_quantize, norm_quantize

    norm = layer.feed_forward_norm
    # Nothing in between has a name, so that each is let go of as soon as it has been read.
    return in_fp8.down(gelu_quantize(in_fp8.up(norm_quantize(x, None, offset, norm.weight, norm.bias, NORM_EPS))))
