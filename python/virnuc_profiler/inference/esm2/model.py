# SPDX-License-Identifier: MIT
"""ESM-2 on packed sequences: fair-esm's encoder without padding, for inference only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from virnuc_profiler.inference.esm2.config import ALPHABET_SIZE, PADDING_TOKEN, Architecture
from virnuc_profiler.inference.esm2.encoders.select import resolve_encoder
from virnuc_profiler.inference.esm2.layers import NORM_EPS, EncoderLayer
from virnuc_profiler.inference.marks import ForwardMarks, NoForwardMarks
from virnuc_profiler.inference.ops.attention import resolve_attention_backend
from virnuc_profiler.inference.ops.pack import Pack
from virnuc_profiler.inference.ops.rotary import exact_frequencies
from virnuc_profiler.inference.placement import FP8, PRECISIONS


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The facts about a model that telemetry records.

    Attributes:
        model_name: Name of the model in fair-esm, or ``custom``.
        weights: Origin of the weights, such as ``random seed 0`` or the path of a checkpoint.
        weights_source: Kind of origin: ``random``, ``cache``, ``download``, ``file`` or ``fair-esm``.
        precision: Precision in use: ``fp32``, ``fp16``, ``bf16`` or ``fp8``.
        attention_backend: Name of the attention backend in use.
        kernels: Kernels between the matrix products: ``triton`` or ``torch``.
        parameters: Number of parameters in the encoder; language-model and contact heads are not loaded.
        weights_fingerprint: SHA-256 of all weights in this precision, whatever file they come from; the seed and the
            kind of device of random weights; None for a model that was filled in another way.
    """

    model_name: str
    weights: str
    weights_source: str
    precision: str
    attention_backend: str
    kernels: str
    parameters: int
    weights_fingerprint: str | None = None


class PackedESM2(nn.Module):
    """The encoder. Its weights are uninitialized until ``load.py`` fills them.

    Parameters are allocated once, on their final device and in their final data type.

    Args:
        architecture: Shape of the encoder.
        device: Device that runs the model.
        dtype: Data type of weights and activations.
        attention: Attention backend: ``auto`` or the name of one.
        kernels: Kernels for the work between the matrix products: ``auto``, ``triton`` or ``torch``.
        cuda_graphs: Whether to capture and replay CUDA graphs; None decides by the size of model and pack.
        fp8: Whether matrix products run in FP8 (e4m3, one scale per row), which needs `dtype` bf16.
        model_name: Name for telemetry.

    Raises:
        UsageError: The attention backend, the kernels, CUDA graphs or FP8 cannot run on the device.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        attention: str = "auto",
        kernels: str = "auto",
        cuda_graphs: bool | None = None,
        fp8: bool = False,
        model_name: str = "custom",
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.model_name = model_name
        self.weights = "uninitialized"
        self.weights_source = "none"
        self.weights_fingerprint: str | None = None
        target = torch.device(device)
        self._attention = resolve_attention_backend(attention, target, dtype, architecture.head_dim)
        self._encoder = resolve_encoder(kernels, self._attention, target, dtype, cuda_graphs, fp8)
        self.fp8 = fp8

        factory: Any = {"device": "meta", "dtype": dtype}
        hidden_size = architecture.hidden_size
        # On the meta device, nn.Embedding() would import torch._dynamo, and to_empty() SymPy: three seconds in all.
        embedding = torch.empty((ALPHABET_SIZE, hidden_size), **factory)
        self.embed_tokens = nn.Embedding(ALPHABET_SIZE, hidden_size, PADDING_TOKEN, _weight=embedding)
        layers = nn.ModuleList(EncoderLayer(architecture, dtype) for _ in range(architecture.num_layers))
        self.layers: Sequence[EncoderLayer] = layers  # type: ignore[assignment]
        self.final_norm = nn.LayerNorm(hidden_size, eps=NORM_EPS, **factory)
        self._apply(  # type: ignore[no-untyped-call]
            lambda weights: torch.empty(weights.shape, dtype=weights.dtype, device=device)
        )
        self.requires_grad_(False).eval()
        self._rotary_frequencies: Tensor = exact_frequencies(architecture.head_dim)

    def forward(
        self, tokens: Tensor, cu_seqlens: Tensor, max_seqlen: int, host_cu_seqlens: Tensor | None = None
    ) -> Tensor:
        """Compute the last layer's representation of each token. Never waits for the device.

        Args:
            tokens: (T,) integers, each sequence with its BOS and EOS.
            cu_seqlens: (B + 1,) int32 on the same device, cumulative lengths from 0.
            max_seqlen: Tokens of the longest sequence.
            host_cu_seqlens: Copy of `cu_seqlens` on the CPU. Only the attention backend ``sdpa`` on a GPU benefits:
                without it, every sequence is padded to the longest.

        Returns:
            (T, hidden_size) in the model's data type, after the final layer norm.

        Raises:
            ValueError: `tokens` or `cu_seqlens` has the wrong shape.
        """
        return self._encoder.encode(self, tokens, _checked_pack(tokens, cu_seqlens, max_seqlen, host_cu_seqlens))

    def embed_sequences(
        self,
        tokens: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        host_cu_seqlens: Tensor | None = None,
        marks: ForwardMarks | None = None,
    ) -> Tensor:
        """Compute one vector per sequence: the mean over its residues. Never waits for the device.

        Args:
            tokens: (T,) integers, each sequence with its BOS and EOS.
            cu_seqlens: (B + 1,) int32 on the same device, cumulative lengths from 0; each sequence has at least one
                residue.
            max_seqlen: Tokens of the longest sequence.
            host_cu_seqlens: Copy of `cu_seqlens` on the CPU, as for :meth:`forward`.
            marks: Receiver of the stages, and provider of the output memory; None times nothing and allocates the
                output.

        Returns:
            (B, hidden_size) float32.

        Raises:
            ValueError: `tokens` or `cu_seqlens` has the wrong shape.
        """
        pack = _checked_pack(tokens, cu_seqlens, max_seqlen, host_cu_seqlens)
        return self._encoder.pooled(self, tokens, pack, marks or NoForwardMarks())

    def release_memory(self) -> None:
        """Release the device memory that is kept between packs, except the weights; it is allocated again as needed."""
        if self._encoder.release is not None:
            self._encoder.release()

    def encode_unquantized(self, tokens: Tensor, pack: Pack) -> Tensor:
        """Compute the representation as :meth:`forward` does, but with all matrix products in the model's data type.

        Args:
            tokens: (T,) integers, each sequence with its BOS and EOS.
            pack: The sequences of the pack.
        """
        encoder = resolve_encoder("auto", self._attention, self.device, self.dtype, cuda_graphs=False)
        return encoder.encode(self, tokens, pack)

    @property
    def hidden_size(self) -> int:
        """Size h of a token's representation."""
        return self.architecture.hidden_size

    @property
    def embed_dim(self) -> int:
        """`hidden_size` under its name in fair-esm."""
        return self.architecture.hidden_size

    @property
    def num_layers(self) -> int:
        """Number of transformer layers."""
        return self.architecture.num_layers

    @property
    def attention_heads(self) -> int:
        """Number of attention heads in each layer."""
        return self.architecture.attention_heads

    @property
    def dtype(self) -> torch.dtype:
        """Data type of weights, activations and results."""
        return self.embed_tokens.weight.dtype

    @property
    def device(self) -> torch.device:
        """Device that holds the model."""
        return self.embed_tokens.weight.device

    @property
    def rotary_frequencies(self) -> Tensor:
        """Rotation of each pair of a head per position, in radians, as (head_dim / 2,) float32 on the device.

        They are not a buffer, because ``model.half()`` would round it.
        """
        if self._rotary_frequencies.device != self.device:
            self._rotary_frequencies = self._rotary_frequencies.to(self.device)
        return self._rotary_frequencies

    @rotary_frequencies.setter
    def rotary_frequencies(self, frequencies: Tensor) -> None:
        self._rotary_frequencies = frequencies.to(self.device, torch.float32, copy=True)

    @property
    def attention_backend(self) -> str:
        """Name of the attention backend in use."""
        return self._attention.name

    @property
    def info(self) -> ModelInfo:
        """The facts about this model that telemetry records."""
        return ModelInfo(
            model_name=self.model_name,
            weights=self.weights,
            weights_source=self.weights_source,
            precision=FP8 if self.fp8 else next(name for name, dtype in PRECISIONS.items() if dtype == self.dtype),
            attention_backend=self.attention_backend,
            kernels=self._encoder.kernels,
            parameters=sum(parameter.numel() for parameter in self.parameters()),
            weights_fingerprint=self.weights_fingerprint,
        )


def _checked_pack(tokens: Tensor, cu_seqlens: Tensor, max_seqlen: int, host_cu_seqlens: Tensor | None) -> Pack:
    if tokens.dim() != 1 or cu_seqlens.dim() != 1:
        raise ValueError(
            "PackedESM2 takes packed sequences, tokens (T,) and cu_seqlens (B + 1,); "
            f"got {tuple(tokens.shape)} and {tuple(cu_seqlens.shape)}"
        )
    return Pack(tokens.shape[0], cu_seqlens, max_seqlen, host_cu_seqlens)
