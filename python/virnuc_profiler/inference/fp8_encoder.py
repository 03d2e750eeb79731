# SPDX-License-Identifier: MIT
"""The encoder with its matrix products in FP8, twice as fast on Hopper and later as those in bf16."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from virnuc_profiler.inference.attention import Attend, AttentionBackend
from virnuc_profiler.inference.fused_encoder import FusedEncoder
from virnuc_profiler.inference.kernels.availability import obstacle
from virnuc_profiler.inference.layers import NORM_EPS

if TYPE_CHECKING:
    from virnuc_profiler.inference.packed_esm2 import PackedESM2


def fp8_obstacle(device: torch.device, dtype: torch.dtype) -> str:
    """Why products in FP8 cannot run there; empty if they can."""
    reason = obstacle(device, dtype)
    if reason:
        return reason
    if dtype != torch.bfloat16:
        return f"what is not in FP8 must be in bf16, not {dtype}"
    if torch.cuda.get_device_capability(device) < (9, 0):
        return f"{torch.cuda.get_device_name(device)} is older than Hopper (compute capability 9.0)"
    return ""


@dataclass(frozen=True, slots=True)
class Fp8Linear:
    """A linear layer's weights in FP8.

    Attributes:
        weight: (n, outputs) FP8, column by column in memory, as the products want it.
        scales: (1, outputs) float32, one for each output.
        bias: (outputs,) bf16; None where the residual stream leaves it out.
    """

    weight: Tensor
    scales: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, linear: nn.Linear, *, with_bias: bool) -> Fp8Linear:
        """Rounds the weights of a layer."""
        from virnuc_profiler.inference.kernels.quantised import quantise

        weight, scales = quantise(linear.weight)
        return cls(weight.t(), scales.t(), linear.bias if with_bias else None)

    def __call__(self, quantised: tuple[Tensor, Tensor]) -> Tensor:
        """(T, n) FP8 with (T, 1) scales, to (T, outputs) bf16."""
        rows, scales = quantised
        # Sums are in fp32 outside the tensor cores only every 128 products or so: the fast way, as everywhere.
        return torch._scaled_mm(
            rows, self.weight, scales, self.scales, self.bias, out_dtype=torch.bfloat16, use_fast_accum=True
        )


@dataclass(frozen=True, slots=True)
class _Layer:
    qkv: Fp8Linear
    attention_out: Fp8Linear
    up: Fp8Linear
    down: Fp8Linear


class Fp8Encoder(FusedEncoder):
    """Each product's input is rounded to FP8, row by row, by the kernel that makes it.

    The weights in FP8 lie beside those in bf16, which the check of their precision needs. Attention, norms and the
    residual stream stay in bf16.
    """

    def __init__(self, attention: AttentionBackend) -> None:
        super().__init__(attention)
        self._rounded_from: object = None
        self._layers: list[_Layer] = []

    def prepare(self, model: PackedESM2) -> object:
        """What is worked out from the weights; another object when they have moved or their biases have changed."""
        state = super().prepare(model)
        if state is not self._rounded_from:
            self._layers = [
                _Layer(
                    qkv=Fp8Linear.of(layer.qkv, with_bias=True),
                    attention_out=Fp8Linear.of(layer.attention_out, with_bias=False),
                    up=Fp8Linear.of(layer.up, with_bias=True),
                    down=Fp8Linear.of(layer.down, with_bias=False),
                )
                for layer in model.layers
            ]
            self._rounded_from = state
        return state

    def _through_layers(
        self, model: PackedESM2, x: Tensor, biases: Tensor, rotate: Callable[[Tensor], None], attend: Attend
    ) -> Tensor:
        """(T, h) embeddings, which it works on, to the last layer's representation."""
        from virnuc_profiler.inference.kernels.layer_norm import layer_norm
        from virnuc_profiler.inference.kernels.quantised import add_norm_quantise, gelu_quantise, quantise

        update: Tensor | None = None
        for number, (layer, in_fp8) in enumerate(zip(model.layers, self._layers, strict=True)):
            norm = layer.attention_norm
            normed = add_norm_quantise(x, update, biases[2 * number], norm.weight, norm.bias, NORM_EPS)
            qkv = in_fp8.qkv(normed).view(len(x), 3, model.attention_heads, -1)
            rotate(qkv)
            update = in_fp8.attention_out(quantise(attend(*qkv.unbind(1)).flatten(1)))
            norm = layer.feed_forward_norm
            normed = add_norm_quantise(x, update, biases[2 * number + 1], norm.weight, norm.bias, NORM_EPS)
            update = in_fp8.down(gelu_quantise(in_fp8.up(normed)))
        assert update is not None  # there is at least one layer
        return layer_norm(x.add_(update), biases[-1], model.final_norm.weight, model.final_norm.bias, NORM_EPS)
