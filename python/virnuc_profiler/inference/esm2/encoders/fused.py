# SPDX-License-Identifier: MIT
"""The encoder with everything between its matrix products in kernels of our own."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from virnuc_profiler.inference.esm2.config import MASK_TOKEN
from virnuc_profiler.inference.esm2.encoders.contract import EncodedModel
from virnuc_profiler.inference.esm2.encoders.eager import UNMASKED_IN_TRAINING
from virnuc_profiler.inference.esm2.layers import NORM_EPS, stream_biases
from virnuc_profiler.inference.ops.attention import AttentionBackend
from virnuc_profiler.inference.ops.pack import Pack
from virnuc_profiler.inference.ops.rotary import RotaryAngles

if TYPE_CHECKING:
    from virnuc_profiler.inference.esm2.encoders.projections import Rotation

_VERSION: Final = attrgetter("_version")


class FusedEncoder:
    """Seven to nine kernels a layer: each reads its input once and writes its output once.

    The two matrix products that end in the residual stream add to it in place. Their biases are left out of the
    stream: the sum of those so far is the same for every token, and the next layer norm adds it when it reads.
    """

    kernels = "triton"

    def __init__(self, attention: AttentionBackend) -> None:
        self._attention = attention
        self._angles = RotaryAngles()
        self._biases = ResidualBiases()

    def prepare(self, model: EncodedModel) -> Tensor:
        """The residual stream's biases, see there; another object when they have moved or changed."""
        return self._biases.of(model)

    def __call__(self, model: EncodedModel, tokens: Tensor, pack: Pack) -> Tensor:
        """(T,) tokens to the last layer's representation, (T, h)."""
        from virnuc_profiler.inference.esm2.encoders.projections import qkv_with_rope, up_with_gelu
        from virnuc_profiler.inference.kernels.layer_norm import layer_norm

        biases = self.prepare(model)
        # The largest piece first, or a smaller one might be cut from where the last pack had it.
        room = Workspace.of(model, pack.total_tokens)
        normed, qkv, inner = room.normed, room.qkv, room.inner
        x, rotation = self._embed(model, tokens, pack)
        attend = self._attention.plan(pack, out=room.attended)
        for number, layer in enumerate(model.layers):
            norm = layer.attention_norm
            layer_norm(x, biases[2 * number], norm.weight, norm.bias, NORM_EPS, out=normed)
            qkv_with_rope(normed, layer.qkv, rotation, out=qkv)
            x.addmm_(attend(*qkv.unbind(1)).flatten(1), layer.attention_out.weight.t())
            norm = layer.feed_forward_norm
            layer_norm(x, biases[2 * number + 1], norm.weight, norm.bias, NORM_EPS, out=normed)
            up_with_gelu(normed, layer.up, out=inner)
            x.addmm_(inner, layer.down.weight.t())
        return layer_norm(x, biases[-1], model.final_norm.weight, model.final_norm.bias, NORM_EPS, out=x)

    def _embed(self, model: EncodedModel, tokens: Tensor, pack: Pack) -> tuple[Tensor, Rotation]:
        """The residual stream's beginning, (T, h), and by how much queries and keys are rotated."""
        from virnuc_profiler.inference.esm2.encoders.projections import Rotation
        from virnuc_profiler.inference.kernels.embedding import describe_tokens, embed

        cos, sin = self._angles.covering(pack.max_seqlen, model.architecture.head_dim, tokens.device)
        positions, scales = describe_tokens(tokens, pack.cu_seqlens, MASK_TOKEN, UNMASKED_IN_TRAINING)
        return embed(tokens, model.embed_tokens.weight, scales), Rotation(positions, cos, sin)


class ResidualBiases:
    """What the biases of the residual stream add up to before each layer norm; worked out anew when they change."""

    def __init__(self) -> None:
        self._state: object = None
        self._sums: Tensor | None = None

    def of(self, model: EncodedModel) -> Tensor:
        """(2 L + 1, h) float32: before each of the L layers' two norms, and before the last one."""
        biases = stream_biases(model.layers)
        state = list(map(Tensor.data_ptr, biases)), _versions(biases)
        if self._sums is None or state != self._state:
            none_yet = torch.zeros_like(biases[0], dtype=torch.float32)
            self._sums = torch.stack([none_yet, *(bias.float() for bias in biases)]).cumsum(0)
            self._state = state
        return self._sums


def _versions(tensors: list[Tensor]) -> list[int | None]:
    """How often each was changed; None if that is not counted, as of those made in inference mode."""
    try:
        return list(map(_VERSION, tensors))
    except RuntimeError:
        return [None if tensor.is_inference() else tensor._version for tensor in tensors]


_ALIGNED_TOKENS = 64
"""Room is taken for a multiple of so many, so that each part begins at the start of a line of memory."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Five numbers for each token and each of the h places of its vector, in one piece.

    Asked for one by one, layer by layer, tensors of these sizes take eight at the worst moment, since one is let go of
    only when the next layer has made it anew. And they cut the allocator's memory into pieces: of 2.3 GB that a process
    was allowed, a quarter has been seen to be free and of no use.

    Attributes:
        normed: (T, h), what goes into a product.
        qkv: (T, 3, heads, head_dim), queries, keys and values.
        attended: (T, heads, head_dim).
        inner: (T, 4 h), of the feed-forward: over `qkv` and `attended`, which are done with by then.
    """

    normed: Tensor
    qkv: Tensor
    attended: Tensor
    inner: Tensor

    @classmethod
    def of(cls, model: EncodedModel, tokens: int) -> Workspace:
        """Takes room for a pack of T tokens where the model is, in its dtype."""
        width, heads = model.embed_dim, model.attention_heads
        rows = -(-tokens // _ALIGNED_TOKENS) * _ALIGNED_TOKENS
        memory = torch.empty(5 * rows * width, dtype=model.dtype, device=model.device)

        def part(begin: int, numbers: int) -> Tensor:
            """So many numbers for each token and place, after those that `begin` others take."""
            return memory.narrow(0, begin * rows * width, numbers * tokens * width)

        return cls(
            normed=part(0, 1).view(tokens, width),
            qkv=part(1, 3).view(tokens, 3, heads, width // heads),
            attended=part(4, 1).view(tokens, heads, width // heads),
            inner=part(1, 4).view(tokens, 4 * width),
        )
