# SPDX-License-Identifier: MIT
"""The encoder with Triton kernels for everything between its matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from virnuc_profiler.inference.esm2.config import MASK_TOKEN
from virnuc_profiler.inference.esm2.encoders.eager import UNMASKED_IN_TRAINING
from virnuc_profiler.inference.esm2.encoders.encoder_contract import EncodedModel
from virnuc_profiler.inference.esm2.encoders.residual_biases import ResidualBiases
from virnuc_profiler.inference.esm2.encoders.workspace import Workspace
from virnuc_profiler.inference.esm2.layers import NORM_EPS
from virnuc_profiler.inference.marks import ForwardMarks
from virnuc_profiler.inference.ops.attention import AttentionBackend
from virnuc_profiler.inference.ops.pack import Pack
from virnuc_profiler.inference.ops.rotary import RotaryAngles

if TYPE_CHECKING:
    from virnuc_profiler.inference.esm2.encoders.projections import Rotation


class FusedEncoder:
    """Run seven to nine kernels per layer, each of which reads its input once and writes its output once.

    The two matrix products that end in the residual stream add to it in place. Their biases are left out of the
    stream: their sum so far is the same for every token, and the next layer norm adds it when it reads the stream.

    Args:
        attention: Backend that computes attention.
    """

    kernels = "triton"

    def __init__(self, attention: AttentionBackend) -> None:
        self._attention = attention
        self._angles = RotaryAngles()
        self._biases = ResidualBiases()

    def prepare(self, model: EncodedModel) -> Tensor:
        """Return the sums of `ResidualBiases`; another object if a bias has moved or changed."""
        return self._biases.for_model(model)

    def pooled(self, model: EncodedModel, tokens: Tensor, pack: Pack, marks: ForwardMarks) -> Tensor:
        """Compute the mean over each sequence's residues.

        Args:
            model: Weights of the encoder.
            tokens: (T,) integers.
            pack: The sequences of the pack.
            marks: Receiver of the stages, and provider of the output memory.

        Returns:
            (B, h) float32.
        """
        from virnuc_profiler.inference.kernels.mean_pool import mean_pool

        output = marks.output_buffer(pack.num_sequences, model.hidden_size)
        vectors, timestamps = (None, None) if output is None else (output.vectors, output.timestamps)
        marks.begin_pass(gapless=False)
        hidden = self(model, tokens, pack, timestamps)
        return mean_pool(hidden, pack.cu_seqlens, out=vectors, timestamps=timestamps)

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
        from virnuc_profiler.inference.esm2.encoders.projections import qkv_with_rope, up_with_gelu
        from virnuc_profiler.inference.kernels.layer_norm import layer_norm

        biases = self.prepare(model)
        # Allocate the largest block first: a smaller one might be cut from the memory that the last pack freed.
        workspace = Workspace.for_pack(model, pack.total_tokens)
        normed, qkv, inner = workspace.normed, workspace.qkv, workspace.inner
        x, rotation = self._embed(model, tokens, pack, timestamps)
        attend = self._attention.plan(pack, out=workspace.attended)
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

    def _embed(
        self, model: EncodedModel, tokens: Tensor, pack: Pack, timestamps: Tensor | None
    ) -> tuple[Tensor, Rotation]:
        """Return the initial residual stream, (T, h), and the rotation of queries and keys."""
        from virnuc_profiler.inference.esm2.encoders.projections import Rotation
        from virnuc_profiler.inference.kernels.embedding import describe_tokens, embed

        cos, sin = self._angles.covering(pack.max_seqlen, model.rotary_frequencies)
        positions, scales = describe_tokens(tokens, pack.cu_seqlens, MASK_TOKEN, UNMASKED_IN_TRAINING, timestamps)
        return embed(tokens, model.embed_tokens.weight, scales), Rotation(positions, cos, sin)
