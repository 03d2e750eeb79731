# SPDX-License-Identifier: MIT
"""ESM-2 on packed sequences: the encoder of fair-esm without padding, for inference only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from virnuc_profiler.inference.architectures import ALPHABET_SIZE, PADDING_TOKEN, Architecture
from virnuc_profiler.inference.attention import choose_backend
from virnuc_profiler.inference.encoders import choose_encoder
from virnuc_profiler.inference.layers import NORM_EPS, EncoderLayer
from virnuc_profiler.inference.pack import Pack
from virnuc_profiler.inference.pass_marks import NoPassMarks, PassMarks
from virnuc_profiler.inference.weights import architecture_of, copy_weights

FP8: Final = "fp8"
PRECISIONS: Final = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, FP8: torch.bfloat16}
"""What weights, activations and results are in; with ``fp8`` the inputs of matrix products are rounded further."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model is, for the record.

    Attributes:
        model_name: fair-esm's name, or ``custom``.
        weights: ``random seed 0``, the path of the checkpoint, or what else they are.
        weights_source: ``random``, ``cache``, ``download``, ``file`` or ``fair-esm``.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``fp8``.
        attention_backend: the one in use.
        kernels: what computes the rest between the matrix products, ``triton`` or ``torch``.
        parameters: numbers in the encoder; lm head and contact head are not loaded.
    """

    model_name: str
    weights: str
    weights_source: str
    precision: str
    attention_backend: str
    kernels: str
    parameters: int


class PackedESM2(nn.Module):
    """The encoder. Its weights are uninitialised until `weights.py` or :meth:`from_fair_esm` fills them.

    Parameters are made where they will stay, in the dtype they will keep: there is never a second copy.

    Args:
        architecture: the shape.
        device: where to run.
        dtype: of weights and activations.
        attention: ``auto`` or the name of a backend.
        kernels: ``auto``, ``triton`` or ``torch``: what computes the rest between the matrix products.
        cuda_graphs: whether launches are recorded and replayed; None leaves it to the size of model and pack.
        fp8: whether the matrix products are in FP8 (e4m3, a scale for each row), which needs `dtype` bf16.
        model_name: for the record.

    Raises:
        UsageError: the attention backend, the kernels, graphs or FP8 cannot run there.
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
        self.weights = "uninitialised"
        self.weights_source = "none"
        place = torch.device(device)
        self._attention = choose_backend(attention, place, dtype, architecture.head_dim)
        self._encoder = choose_encoder(kernels, self._attention, place, dtype, cuda_graphs, fp8)
        self.fp8 = fp8

        factory: Any = {"device": "meta", "dtype": dtype}
        width = architecture.embed_dim
        # On the meta device, nn.Embedding() would import torch._dynamo, and to_empty() SymPy: three seconds in all.
        embedding = torch.empty((ALPHABET_SIZE, width), **factory)
        self.embed_tokens = nn.Embedding(ALPHABET_SIZE, width, PADDING_TOKEN, _weight=embedding)
        layers = nn.ModuleList(EncoderLayer(architecture, dtype) for _ in range(architecture.num_layers))
        self.layers: Sequence[EncoderLayer] = layers  # type: ignore[assignment]
        self.final_norm = nn.LayerNorm(width, eps=NORM_EPS, **factory)
        self._apply(  # type: ignore[no-untyped-call]
            lambda weights: torch.empty(weights.shape, dtype=weights.dtype, device=device)
        )
        self.requires_grad_(False).eval()

    @classmethod
    def from_fair_esm(
        cls,
        esm_model: nn.Module,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        attention: str = "auto",
        kernels: str = "auto",
        cuda_graphs: bool | None = None,
        fp8: bool = False,
    ) -> PackedESM2:
        """Takes the weights of an ``esm.model.esm2.ESM2``.

        Raises:
            ModelError: it is not an ESM-2 model of fair-esm.
            UsageError: the attention backend, the kernels or graphs cannot run there.
        """
        architecture = architecture_of(esm_model)
        model = cls(
            architecture,
            device=device,
            dtype=dtype,
            attention=attention,
            kernels=kernels,
            cuda_graphs=cuda_graphs,
            fp8=fp8,
        )
        copy_weights(model, esm_model.state_dict(), "the fair-esm model")
        model.weights, model.weights_source = "taken from a fair-esm model", "fair-esm"
        return model

    def forward(
        self, tokens: Tensor, cu_seqlens: Tensor, max_seqlen: int, host_cu_seqlens: Tensor | None = None
    ) -> Tensor:
        """Computes the last layer's representation of each token. Never waits for the device.

        Args:
            tokens: (T,) integers, each sequence with its BOS and EOS.
            cu_seqlens: (B + 1,) int32 on the same device, cumulative lengths from 0.
            max_seqlen: the longest sequence in tokens.
            host_cu_seqlens: a copy of `cu_seqlens` on the CPU. Only attention backend ``sdpa`` on a GPU gains
                from it: without it that pads every sequence to the longest.

        Returns:
            (T, embed_dim) in the model's dtype, the final layer norm applied.

        Raises:
            ValueError: tokens or cu_seqlens of a wrong shape.
        """
        return self._encoder.encode(self, tokens, _checked_pack(tokens, cu_seqlens, max_seqlen, host_cu_seqlens))

    def embed_sequences(
        self,
        tokens: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        host_cu_seqlens: Tensor | None = None,
        marks: PassMarks | None = None,
    ) -> Tensor:
        """Computes one vector per sequence: the mean over its residues. Never waits for the device.

        Args:
            tokens: as for :meth:`forward`, and so are the next three.
            cu_seqlens: each sequence has at least one residue.
            max_seqlen: see there.
            host_cu_seqlens: see there.
            marks: told what is about to be queued, for whoever times it; may have room for the vectors.

        Returns:
            (B, embed_dim) float32, in the room that `marks` had, or in memory of the caller's own.

        Raises:
            ValueError: tokens or cu_seqlens of a wrong shape.
        """
        pack = _checked_pack(tokens, cu_seqlens, max_seqlen, host_cu_seqlens)
        return self._encoder.pooled(self, tokens, pack, marks or NoPassMarks())

    def release_memory(self) -> None:
        """Lets go of device memory that is kept from pack to pack, apart from the weights; it comes back as needed."""
        self._encoder.release()

    def encode_unquantised(self, tokens: Tensor, pack: Pack) -> Tensor:
        """As :meth:`forward`, with the matrix products in the model's dtype also where it computes them in FP8."""
        encoder = choose_encoder("auto", self._attention, self.device, self.dtype, cuda_graphs=False)
        return encoder.encode(self, tokens, pack)

    @property
    def embed_dim(self) -> int:
        """Width of the representation."""
        return self.architecture.embed_dim

    @property
    def num_layers(self) -> int:
        """Transformer layers."""
        return self.architecture.num_layers

    @property
    def attention_heads(self) -> int:
        """Heads of each layer."""
        return self.architecture.attention_heads

    @property
    def dtype(self) -> torch.dtype:
        """Of weights, activations and results."""
        return self.embed_tokens.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.embed_tokens.weight.device

    @property
    def attention_backend(self) -> str:
        """Name of the attention backend in use."""
        return self._attention.name

    @property
    def info(self) -> ModelInfo:
        """What this model is, for the record."""
        return ModelInfo(
            model_name=self.model_name,
            weights=self.weights,
            weights_source=self.weights_source,
            precision=FP8 if self.fp8 else next(name for name, dtype in PRECISIONS.items() if dtype == self.dtype),
            attention_backend=self.attention_backend,
            kernels=self._encoder.kernels,
            parameters=sum(parameter.numel() for parameter in self.parameters()),
        )


def _checked_pack(tokens: Tensor, cu_seqlens: Tensor, max_seqlen: int, host_cu_seqlens: Tensor | None) -> Pack:
    if tokens.dim() != 1 or cu_seqlens.dim() != 1:
        raise ValueError(
            "PackedESM2 takes packed sequences, tokens (T,) and cu_seqlens (B + 1,); "
            f"got {tuple(tokens.shape)} and {tuple(cu_seqlens.shape)}"
        )
    return Pack(tokens.shape[0], cu_seqlens, max_seqlen, host_cu_seqlens)
